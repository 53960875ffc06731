//! Markdown to HTML. The documents are the operator's own, so raw HTML in them is left as it is.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// A whole page; its title is the document's first heading, or else `name`.
pub(crate) fn page(name: &str, markdown: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    let events: Vec<_> = Parser::new_ext(markdown, options).collect();
    let title = first_heading(&events).unwrap_or_else(|| name.to_owned());
    in_frame(title, events)
}

/// The list of all pages.
pub(crate) fn index(names: impl Iterator<Item = String>) -> String {
    let mut events: Vec<_> = Parser::new("# Pages\n\n[status](/status)\n").collect();
    events.push(Event::Start(Tag::List(None)));
    for name in names {
        let link = Tag::Link {
            link_type: LinkType::Inline,
            dest_url: format!("/page/{name}").into(),
            title: CowStr::Borrowed(""),
            id: CowStr::Borrowed(""),
        };
        events.extend([
            Event::Start(Tag::Item),
            Event::Start(link),
            Event::Text(name.into()),
            Event::End(TagEnd::Link),
            Event::End(TagEnd::Item),
        ]);
    }
    events.push(Event::End(TagEnd::List(false)));
    in_frame("Pages".to_owned(), events)
}

fn in_frame(title: String, body: Vec<Event<'_>>) -> String {
    // Written as a text, which escapes it.
    let title = to_html(vec![Event::Text(title.into())]);
    let body = to_html(body);
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
