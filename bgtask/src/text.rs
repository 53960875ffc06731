//! A user's texts as bgtask's lines and fields show them: control characters escaped, long texts cut.
//! Owns the escaping and the limit; must never know where a text comes from, or where its line goes.

use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// 4 KB: an error with its sources fits, and a thousand of them fit into a report.
const DEFAULT_LIMIT: usize = 4096;

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_LIMIT);

/// Sets how many bytes of one text of yours bgtask writes: of an error, of a panic's message, of the reason for a shutdown.
/// Default: 4096, for the whole process.
///
/// It holds for log lines and the fields of events and spans, for every `Display` of this crate, for the dashboard and for
/// what a [`ShutdownReport`](crate::ShutdownReport) keeps. A longer text is cut between two characters, and its length
/// follows: `… (100000 bytes)`. An escaped character counts as many bytes as its escape has. `usize::MAX` cuts nothing.
///
/// Control characters are escaped whatever the limit is, as are the characters of Unicode that end a line or turn the
/// direction of what follows: `\n`, `\u{1b}`, `\u{202e}`. A text as data stays whole and as it is: in a
/// [`TaskError`](crate::TaskError), and for [`on_error`](crate::on_error) and [`on_panic`](crate::on_panic). A program that
/// writes those to a terminal escapes them itself.
///
/// # Examples
/// ```
/// bgtask::set_text_limit(64 * 1024); // stack traces within errors
/// # bgtask::set_text_limit(4096);
/// ```
pub fn set_text_limit(bytes: usize) {
    // Relaxed: no other memory depends on this number, and a line that is being written may have the old one.
    LIMIT.store(bytes, Ordering::Relaxed);
}

fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// A value whose text may be the user's, on one line: escaped, and whole. Escaping an escaped text changes nothing, so a text may
/// pass any number of these.
#[derive(Debug)]
pub(crate) struct Escaped<T>(pub(crate) T);

/// A text of the user's on one line: escaped, and cut at the limit.
#[derive(Debug)]
pub(crate) struct Excerpt<T>(pub(crate) T);

/// A text of the user's that people read over several lines: as an [`Excerpt`], but each line break is kept and followed by
/// spaces, so that no line of the text looks like one of ours.
#[derive(Debug)]
pub(crate) struct Indented<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0, ESCAPED_BREAK, usize::MAX)
    }
}

impl<T: Display> Display for Excerpt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0, ESCAPED_BREAK, limit())
    }
}

impl<T: Display> Display for Indented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0, "\n        ", limit())
    }
}

/// Returns the text cut as an [`Excerpt`] cuts it, and not escaped: to keep where nothing else of it will be shown.
pub(crate) fn kept(text: &str) -> String {
    let limit = limit();
    let mut shown = 0;
    for (at, character) in text.char_indices() {
        shown += match deceives(character) {
            true => character.escape_default().len(),
            false => character.len_utf8(),
        };
        if shown > limit {
            return format!("{}{}", &text[..at], Length(text.len()));
        }
    }
    text.to_owned()
}

const ESCAPED_BREAK: &str = "\\n";

fn write_escaped(
    f: &mut fmt::Formatter<'_>,
    value: &dyn Display,
    line_break: &'static str,
    limit: usize,
) -> fmt::Result {
    let mut escaping = Escaping {
        into: f,
        line_break,
        left: limit,
        is_cut: false,
        length: 0,
    };
    write!(escaping, "{value}")?;
    let (is_cut, length) = (escaping.is_cut, escaping.length);
    match is_cut {
        true => Length(length).fmt(f),
        false => Ok(()),
    }
}

/// Stands in place of the part that was cut off.
struct Length(usize);

impl Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "… ({} bytes)", self.0)
    }
}

/// Escapes all that is written through it. It counts the bytes after the cut, and drops them.
struct Escaping<'a, 'b> {
    into: &'a mut fmt::Formatter<'b>,
    line_break: &'static str,
    /// How many bytes may still be written.
    left: usize,
    is_cut: bool,
    /// All bytes of the text so far.
    length: usize,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.length += text.len();
        let mut rest = text;
        while !self.is_cut && !rest.is_empty() {
            let end = rest.find(deceives).unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            self.write_plain(plain)?;
            rest = after;
            let mut characters = rest.chars();
            if let Some(character) = characters.next() {
                rest = characters.as_str();
                self.write_deceiver(character)?;
            }
        }
        Ok(())
    }
}

impl Escaping<'_, '_> {
    fn write_plain(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(self.left);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.is_cut |= end < text.len();
        self.left -= end;
        self.into.write_str(&text[..end])
    }

    fn write_deceiver(&mut self, character: char) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let escape = character.escape_default();
        let length = match character {
            '\n' => self.line_break.len(),
            _ => escape.len(),
        };
        if length > self.left {
            self.is_cut = true;
            return Ok(());
        }
        self.left -= length;
        match character {
            '\n' => self.into.write_str(self.line_break),
            _ => write!(self.into, "{escape}"),
        }
    }
}

/// Returns whether a terminal, or a program that splits a log into lines, takes the character for more than itself.
fn deceives(character: char) -> bool {
    // The controls of C0 and C1, and of Unicode's others those that separate lines or turn the direction of a text.
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, limit: usize) -> String {
        struct Cut<'a>(&'a str, usize);
        impl Display for Cut<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_escaped(f, &self.0, ESCAPED_BREAK, self.1)
            }
        }
        Cut(text, limit).to_string()
    }

    #[test]
    fn a_text_is_cut_between_characters_and_escapes_and_its_length_is_its_own() {
        for (text, limit, shown) in [
            ("", 0, ""),
            ("a", 0, "… (1 bytes)"),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc… (4 bytes)"),
            ("éé", 3, "é… (4 bytes)"),
            ("a\nb", 3, "a\\n… (3 bytes)"),
            ("a\nb", 2, "a… (3 bytes)"),
            ("\u{1b}\u{1b}", 11, "\\u{1b}… (2 bytes)"),
            // Nothing after the cut comes back in.
            ("a\u{1b}b", 2, "a… (3 bytes)"),
        ] {
            assert_eq!(cut(text, limit), shown, "{text:?} {limit}");
        }
    }

    #[test]
    fn what_is_escaped_stays_as_it_is_when_it_is_escaped_again() {
        let once = Escaped("C:\\new\n\u{1b}").to_string();
        assert_eq!(once, "C:\\new\\n\\u{1b}");
        assert_eq!(Escaped(&once).to_string(), once);
    }

    #[test]
    fn what_is_kept_shows_as_the_whole_text_would() {
        for text in [
            "a".repeat(5000),
            "\u{1b}".repeat(5000),
            "\u{202e}é".repeat(3000),
            "short\n".to_owned(),
        ] {
            assert_eq!(Escaped(kept(&text)).to_string(), Excerpt(&text).to_string());
        }
    }

    #[test]
    fn a_text_over_several_lines_is_indented() {
        let text = "left: 1\r\nright: 2\n`forged`";
        let shown = "left: 1\\r\n        right: 2\n        `forged`";
        assert_eq!(Indented(text).to_string(), shown);
    }
}
