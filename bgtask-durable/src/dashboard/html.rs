//! HTML, in which no data is markup: what is not a literal of the program is escaped.
//! Owns the escaping; must never know a page.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// HTML that is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// The part of a table that is being written.
pub(super) struct Row<'a>(&'a mut Html);

impl Html {
    /// Adds markup. Only a literal can be markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0 += markup;
        self
    }

    /// Adds a text, also within the quotes of an attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // A `String` takes all that is written.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// Adds a panel with a title, which live reading replaces as a whole.
    pub(super) fn panel(
        &mut self,
        id: &'static str,
        title: &'static str,
        note: impl Display,
        body: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.raw("<section class=\"panel\" data-live id=\"")
            .text(id);
        self.raw("\" aria-labelledby=\"")
            .text(id)
            .raw("-title\"><div class=\"head\"><h2 id=\"");
        self.text(id).raw("-title\">").text(title);
        self.raw("</h2><p class=\"count\">")
            .text(note)
            .raw("</p></div>");
        body(self);
        self.raw("</section>\n")
    }

    /// Adds a table. A head that begins with `#` is that of numbers, and an empty one has no text.
    pub(super) fn table(
        &mut self,
        heads: &[&'static str],
        rows: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.raw("<table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">");
        for head in heads {
            let number = head.strip_prefix('#');
            self.raw("<th scope=\"col\" role=\"columnheader\"");
            self.raw(if number.is_some() {
                " class=\"number\">"
            } else {
                ">"
            });
            self.text(number.unwrap_or(head)).raw("</th>");
        }
        self.raw("</tr></thead><tbody role=\"rowgroup\">");
        rows(self);
        self.raw("</tbody></table>")
    }

    pub(super) fn row(&mut self, cells: impl FnOnce(&mut Row<'_>)) -> &mut Self {
        self.raw("<tr role=\"row\">");
        cells(&mut Row(self));
        self.raw("</tr>\n")
    }

    /// Adds a point in time, in milliseconds since 1970, as its distance from now.
    pub(super) fn moment(&mut self, at: i64, now: i64) -> &mut Self {
        let stamp = humantime::format_rfc3339_seconds(time(at));
        self.raw("<time datetime=\"")
            .text(&stamp)
            .raw("\" title=\"")
            .text(stamp)
            .raw("\">");
        let distance = length(now.abs_diff(at));
        if at > now {
            self.text(format_args!("in {distance}"));
        } else {
            self.text(format_args!("{distance} ago"));
        }
        self.raw("</time>")
    }

    /// Adds the state of a job.
    pub(super) fn state(&mut self, state: bgtask::durable::JobState) -> &mut Self {
        self.raw("<span class=\"tag is-")
            .text(state)
            .raw("\">")
            .text(state)
            .raw("</span>")
    }

    /// Adds the last parts of a name in full, and what is before them lightly.
    pub(super) fn function(&mut self, name: &str) -> &mut Self {
        let (module, last) = match name.rfind("::") {
            Some(at) => name.split_at(at + 2),
            None => ("", name),
        };
        self.raw("<span class=\"module\">").text(module);
        self.raw("</span><span class=\"name\">")
            .text(last)
            .raw("</span>")
    }

    /// Adds a paragraph for a list that is empty.
    pub(super) fn nothing(&mut self, text: &'static str) -> &mut Self {
        self.raw("<p class=\"nothing\">").text(text).raw("</p>")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Row<'_> {
    pub(super) fn cell(
        &mut self,
        label: &'static str,
        content: impl FnOnce(&mut Html),
    ) -> &mut Self {
        self.class("", label, content)
    }

    pub(super) fn number(&mut self, label: &'static str, content: impl Display) -> &mut Self {
        self.class("number", label, |html| {
            html.text(content);
        })
    }

    pub(super) fn class(
        &mut self,
        class: &'static str,
        label: &'static str,
        content: impl FnOnce(&mut Html),
    ) -> &mut Self {
        self.0.raw("<td role=\"cell\" class=\"").raw(class);
        if !label.is_empty() {
            // Where a row is a card, each figure has its name.
            self.0.raw("\" data-label=\"").text(label);
        }
        self.0.raw("\">");
        content(self.0);
        self.0.raw("</td>");
        self
    }
}

/// Writes text in which nothing is markup.
struct Escaping<'a>(&'a mut String);

impl std::fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => *self.0 += "&amp;",
                '<' => *self.0 += "&lt;",
                '>' => *self.0 += "&gt;",
                '"' => *self.0 += "&quot;",
                '\'' => *self.0 += "&#39;",
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// Returns the time that is this many milliseconds after 1970, at the latest in the year 9999.
pub(super) fn time(ms: i64) -> SystemTime {
    const LAST: u64 = 253_402_300_799_000;
    UNIX_EPOCH + Duration::from_millis(ms.max(0).unsigned_abs().min(LAST))
}

/// Returns the time now in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// Returns a length of time in at most two units.
pub(super) fn length(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Returns a number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns a text as a part of a query: all but letters, digits and a few signs are encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_never_markup() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>'&").raw("\">");
        assert_eq!(
            html.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">"
        );
    }

    #[test]
    fn figures_are_legible() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(length(61_000), "1 m 01 s");
        assert_eq!(encoded("a b&\"ü"), "a%20b%26%22%C3%BC");
    }
}
