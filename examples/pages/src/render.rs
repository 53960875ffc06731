//! Renders Markdown as HTML. The documents are the operator's own, so raw HTML in them is kept.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};
use std::fmt::Display;

/// Renders a whole page. Its title is the first heading of the document, or else `name`.
pub(crate) fn page(name: &str, markdown: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    let events: Vec<_> = Parser::new_ext(markdown, options).collect();
    let title = first_heading(&events).unwrap_or_else(|| name.to_owned());
    // As a text event, the title is escaped.
    frame(&to_html(vec![Event::Text(title.into())]), &to_html(events))
}

/// Renders the list of all pages. Their names need no escaping.
pub(crate) fn index(names: impl Iterator<Item = impl Display>) -> String {
    let items: String = names
        .map(|name| format!("<li><a href=\"/page/{name}\">{name}</a></li>\n"))
        .collect();
    let body =
        format!("<h1>Pages</h1>\n<p><a href=\"/status\">status</a></p>\n<ul>\n{items}</ul>\n");
    frame("Pages", &body)
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body {{ max-width: 44em; margin: 2em auto; padding: 0 1em; font: 1em/1.5 sans-serif }}</style>\n\
         </head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn to_html(events: Vec<Event<'_>>) -> String {
    let mut html = String::new();
    html::push_html(&mut html, events.into_iter());
    html
}

fn first_heading(events: &[Event<'_>]) -> Option<String> {
    let mut events = events.iter();
    events.find(|event| matches!(event, Event::Start(Tag::Heading { .. })))?;
    let text: String = events
        .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            Event::SoftBreak | Event::HardBreak => Some(" "),
            _ => None,
        })
        .collect();
    Some(text)
}
