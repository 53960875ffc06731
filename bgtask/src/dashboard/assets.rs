//! The files of the page, from `page/`.
//! Owns what is inserted into the page before it is sent, and the escaping; must never know what the page will show.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
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
    /// Returns a handler that responds with the file.
    pub(crate) fn handler(
        self,
    ) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + use<> {
        move || std::future::ready(response(self.content_type, self.text))
    }
}

/// Returns a response with a content type.
pub(crate) fn response(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Returns the page under `title`, as requested at `path`. `outlives_drain` is whether it is served until the shutdown is over.
pub(crate) fn page(title: &str, path: &str, outlives_drain: bool) -> String {
    let page = PAGE.replace("{{outlives-drain}}", &outlives_drain.to_string());
    // Split first, so that no text in the title is replaced by the base.
    let pieces = page.split("{{base}}");
    let pieces = pieces.map(|piece| piece.replace("{{title}}", &escaped(title)));
    let pieces: Vec<_> = pieces.collect();
    pieces.join(&escaped(&base(path)))
}

/// Returns the prefix of the links from the page to its files. The page at `/background` and at `/background/` has its style sheet
/// at `/background/style.css`, which is relative to `/` in the first case. The prefix is relative because a proxy may serve the page
/// at another path.
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
    fn the_links_of_the_page_lead_to_its_files_at_every_path() {
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
    fn the_title_and_the_path_are_escaped() {
        let page = page("<b>{{base}}\"&", "/\"><script>", true);
        assert!(page.contains("<title>&lt;b&gt;{{base}}&quot;&amp;</title>"));
        assert!(page.contains("./&quot;&gt;&lt;script&gt;/style.css"));
        assert!(!page.contains("{{title}}"));
        assert!(page.contains("data-outlives-drain=\"true\""));
    }
}
