//! The files of the page, from `page/`.
//! Owns what is inserted into the page before it is sent, and the escaping; must never know what the page will show.

use super::sections::Section;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

const PAGE: &str = include_str!("page/index.html");

/// The page of this process, for links to it: it is there also where no path of the server leads to its first address.
pub(crate) const OWN: Section = Section {
    path: "process",
    title: "This process",
};

/// The page of one function.
const FUNCTION: &str = include_str!("page/function.html");

/// The frame of a further page.
const SECTION: &str = include_str!("page/section.html");

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const fn script(path: &'static str, text: &'static str) -> Asset {
    Asset {
        path,
        content_type: "text/javascript; charset=utf-8",
        text,
    }
}

const fn style(path: &'static str, text: &'static str) -> Asset {
    Asset {
        path,
        content_type: "text/css; charset=utf-8",
        text,
    }
}

pub(crate) const ALL: [Asset; 11] = [
    style("/style.css", include_str!("page/style.css")),
    style("/section.css", include_str!("page/section.css")),
    script("/script.js", include_str!("page/script.js")),
    script("/function.js", include_str!("page/function.js")),
    script("/words.js", include_str!("page/words.js")),
    script("/elements.js", include_str!("page/elements.js")),
    script("/lists.js", include_str!("page/lists.js")),
    script("/filter.js", include_str!("page/filter.js")),
    script("/stream.js", include_str!("page/stream.js")),
    script("/section.js", include_str!("page/section.js")),
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

/// Returns the page under `title`, whose files are at `base`, with links to further pages. `outlives_drain` is whether it is served
/// until the shutdown is over.
pub(crate) fn page(title: &str, base: &str, outlives_drain: bool, links: &[Section]) -> String {
    let navigation = navigation(base, links, OWN.path);
    filled(
        PAGE,
        &[
            ("outlives-drain", &outlives_drain.to_string()),
            ("title", &escaped(title)),
            ("base", &escaped(base)),
            ("navigation", &navigation),
            (
                "access",
                if links.is_empty() {
                    "read-only"
                } else {
                    "in this process"
                },
            ),
        ],
    )
}

/// Returns the page of one function, which is beside its files.
pub(crate) fn function(dashboard: &str, name: &str, links: &[Section]) -> String {
    let base = "./";
    filled(
        FUNCTION,
        &[
            ("dashboard", &escaped(dashboard)),
            ("name", &escaped(name)),
            ("query", &query_value(name)),
            ("base", base),
            ("root", OWN.path),
            ("navigation", &navigation(base, links, OWN.path)),
        ],
    )
}

/// Returns a text as it stands in a query, percent-encoded.
fn query_value(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// Returns a further page: the HTML of its main part in the frame of the dashboard. `root` leads to the first page.
pub(crate) fn section(
    dashboard: &str,
    root: &str,
    links: &[Section],
    current: &str,
    title: &str,
    who: &str,
    body: &str,
) -> String {
    let name = links.iter().find(|link| link.path == current);
    let title = match (title, name) {
        ("", Some(link)) => link.title,
        ("", None) => "Dashboard",
        (title, _) => title,
    };
    filled(
        SECTION,
        &[
            ("dashboard", &escaped(dashboard)),
            ("title", &escaped(title)),
            ("base", &escaped(root)),
            ("navigation", &navigation(root, links, current)),
            ("who", &escaped(who)),
            ("body", body),
        ],
    )
}

/// Returns the links between the pages. Empty if there are no further ones.
fn navigation(base: &str, links: &[Section], current: &str) -> String {
    if links.is_empty() {
        return String::new();
    }
    let link = |link: &Section| {
        let mark = if link.path == current {
            " aria-current=\"page\""
        } else {
            ""
        };
        let (base, path) = (escaped(base), escaped(link.path));
        format!(
            "<li><a href=\"{base}{path}\"{mark}>{}</a></li>",
            escaped(link.title)
        )
    };
    let all: String = [OWN].iter().chain(links).map(link).collect();
    format!("<nav class=\"pages\" aria-label=\"Pages\"><ul>{all}</ul></nav>")
}

/// Returns a template with these values at their names. In one pass, so that no name in a value is replaced.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = template.split("{{");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        let value = values.iter().find(|(other, _)| *other == name);
        filled += value.map_or("", |(_, value)| value);
        filled += rest;
    }
    filled
}

/// Returns the prefix of the links from the page to its files. The page at `/background` and at `/background/` has its style sheet
/// at `/background/style.css`, which is relative to `/` in the first case. The prefix is relative because a proxy may serve the page
/// at another path.
pub(crate) fn base(path: &str) -> String {
    match path.rsplit_once('/') {
        None | Some((_, "")) => "./".to_owned(),
        Some((_, last)) => format!("./{last}/"),
    }
}

pub(crate) fn escaped(text: &str) -> String {
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
        let page = page("<b>{{base}}\"&", &base("/\"><script>"), true, &[]);
        assert!(page.contains("<title>&lt;b&gt;{{base}}&quot;&amp;</title>"));
        assert!(page.contains("./&quot;&gt;&lt;script&gt;/style.css"));
        assert!(!page.contains("{{title}}"));
        assert!(page.contains("data-outlives-drain=\"true\""));
    }
}
