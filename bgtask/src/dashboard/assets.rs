//! The files that the page is made of, as they stand in `page/`.
//! Owns what is written into the page before it is sent, and its escaping; knows nothing of what it will show.

use super::with_type;
use axum::response::Response;

const PAGE: &str = include_str!("page/index.html");

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

pub(crate) const ALL: [Asset; 3] = [
    Asset {
        path: "/style.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("page/style.css"),
    },
    Asset {
        path: "/script.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("page/script.js"),
    },
    Asset {
        path: "/icon.svg",
        content_type: "image/svg+xml",
        text: include_str!("page/icon.svg"),
    },
];

impl Asset {
    /// What a handler of axum is made from.
    pub(crate) fn response(
        self,
    ) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + use<> {
        move || std::future::ready(with_type(self.content_type, self.text))
    }
}

/// Returns the page under `title`, as requested at `path`. `outlives_drain` says whether it is served until the shutdown is over.
pub(crate) fn page(title: &str, path: &str, outlives_drain: bool) -> String {
    let page = PAGE.replace("{{outlives-drain}}", &outlives_drain.to_string());
    // Split first, so that what stands in the title is never taken for a place of the base.
    let pieces = page.split("{{base}}");
    let pieces = pieces.map(|piece| piece.replace("{{title}}", &escaped(title)));
    let pieces: Vec<_> = pieces.collect();
    pieces.join(&escaped(&base(path)))
}

/// What leads from the page to what stands beside it. At `/background` that is `/background/style.css`, which is relative to
/// `/`; at `/background/` it is the same, relative to the page. Relative, since a proxy may know the page by another path.
fn base(path: &str) -> String {
    match path.rsplit_once('/') {
        None | Some((_, "")) => "./".to_owned(),
        Some((_, last)) => format!("./{last}/"),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_the_page_is_found_from_wherever_it_is_asked_for() {
        for (path, expected) in [
            ("/", "./"),
            ("", "./"),
            ("/background", "./background/"),
            ("/background/", "./"),
            ("/ops/background", "./background/"),
            ("/a:b", "./a:b/"),
        ] {
            assert_eq!(base(path), expected, "{path}");
        }
    }

    #[test]
    fn a_title_and_a_path_are_text() {
        let page = page("<b>{{base}}\"&", "/\"><script>", true);
        assert!(page.contains("<title>&lt;b&gt;{{base}}&quot;&amp;</title>"));
        assert!(page.contains("./&quot;&gt;&lt;script&gt;/style.css"));
        assert!(!page.contains("{{title}}"));
        assert!(page.contains("data-outlives-drain=\"true\""));
    }
}
