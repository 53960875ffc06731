//! User texts as bgtask shows them in lines and fields: control characters escaped, long texts truncated.
//! Owns the escaping and the limit; must never know where a text comes from or where its line goes.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// 4 KB: an error with its sources fits, and a report has room for a thousand such texts.
const DEFAULT_LIMIT: usize = 4096;

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_LIMIT);

/// Sets how many bytes bgtask writes of a text from your program: of an error, of a panic message, or of the reason for a
/// shutdown. The limit applies to the whole process. Default: 4096.
///
/// It applies to log lines, to the fields of events and spans, to every `Display` of this crate, to the dashboard, and to the
/// texts that a [`ShutdownReport`](crate::ShutdownReport) keeps. A longer text is cut between two characters and followed by
/// the length of the whole text: `… (100000 bytes)`. An escaped character counts towards the limit as many bytes as its escape
/// has; the length shown is that of the text before escaping. `usize::MAX` cuts nothing.
///
/// With any limit, bgtask escapes control characters and the Unicode characters that end a line or change the direction of
/// the text: `\n`, `\u{1b}`, `\u{202e}`. Texts that you receive as data are neither escaped nor cut: in a
/// [`TaskError`](crate::TaskError), and in the hooks [`on_error`](crate::on_error) and [`on_panic`](crate::on_panic). A program
/// that writes those to a terminal has to escape them itself.
///
/// # Examples
/// ```
/// bgtask::set_text_limit(64 * 1024); // stack traces within errors
/// # bgtask::set_text_limit(4096);
/// ```
pub fn set_text_limit(bytes: usize) {
    // Relaxed: no other memory depends on this number. A line that is being written may still use the old one.
    LIMIT.store(bytes, Ordering::Relaxed);
}

fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// Displays a value that may contain user text on one line: escaped, and not cut. Escaping is idempotent, so a text may pass
/// through any number of these.
#[derive(Debug)]
pub(crate) struct Escaped<T>(pub(crate) T);

/// Displays user text on one line: escaped, and cut at the limit.
#[derive(Debug)]
pub(crate) struct Excerpt<T>(pub(crate) T);

/// Displays user text on one line: escaped, and cut at this many bytes.
#[derive(Debug)]
pub(crate) struct Truncated<T>(pub(crate) T, pub(crate) usize);

/// Displays user text over several lines: like an [`Excerpt`], but each line break is kept and followed by spaces, so that no
/// line of the text looks like one of ours.
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

impl<T: Display> Display for Truncated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0, ESCAPED_BREAK, self.1)
    }
}

impl<T: Display> Display for Indented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0, "\n        ", limit())
    }
}

/// User text, and a note that bgtask adds to it, such as `(after 3 attempts)`. Displayed on one line, like an [`Excerpt`]. The
/// limit cuts the text and never the note.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    text: String,
    note: Option<String>,
}

impl Message {
    pub(crate) fn new(text: impl Into<String>, note: Option<String>) -> Self {
        let text = text.into();
        Self { text, note }
    }

    /// Returns the whole text with its note, neither escaped nor cut.
    pub(crate) fn whole(&self) -> Cow<'_, str> {
        match &self.note {
            None => Cow::Borrowed(&self.text),
            Some(note) => Cow::Owned(format!("{} {note}", self.text)),
        }
    }

    /// Returns the text as [`kept`] does, with its note.
    pub(crate) fn kept(&self) -> String {
        with_note(&kept(&self.text), self.note.as_deref())
    }

    /// Returns the text as [`Indented`] displays it, with its note.
    pub(crate) fn indented(&self) -> String {
        with_note(&Indented(&self.text), self.note.as_deref())
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_note(&Excerpt(&self.text), self.note.as_deref()))
    }
}

fn with_note(text: &dyn Display, note: Option<&str>) -> String {
    match note {
        None => text.to_string(),
        Some(note) => format!("{text} {note}"),
    }
}

/// Returns the text cut as an [`Excerpt`] cuts it, but not escaped: for storage, where the rest of the text is never shown.
pub(crate) fn kept(text: &str) -> String {
    let limit = limit();
    let mut shown = 0;
    for (at, character) in text.char_indices() {
        shown += if needs_escape(character) {
            character.escape_default().len()
        } else {
            character.len_utf8()
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
    if is_cut {
        Length(length).fmt(f)
    } else {
        Ok(())
    }
}

/// Displays the length of a text, in place of the part that was cut.
struct Length(usize);

impl Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "… ({} bytes)", self.0)
    }
}

/// A writer that escapes everything written through it. After the cut it only counts bytes.
struct Escaping<'a, 'b> {
    into: &'a mut fmt::Formatter<'b>,
    line_break: &'static str,
    /// How many bytes may still be written.
    left: usize,
    is_cut: bool,
    /// The length of the text so far, including the bytes after the cut.
    length: usize,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.length += text.len();
        let mut rest = text;
        while !self.is_cut && !rest.is_empty() {
            let end = rest.find(needs_escape).unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            self.write_plain(plain)?;
            rest = after;
            let mut characters = rest.chars();
            if let Some(character) = characters.next() {
                rest = characters.as_str();
                self.write_escape(character)?;
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

    fn write_escape(&mut self, character: char) -> fmt::Result {
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

/// Returns whether the character may control a terminal, or end a line for a program that reads the log.
fn needs_escape(character: char) -> bool {
    // The C0 and C1 controls, and the other Unicode characters that separate lines or change the direction of the text.
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, limit: usize) -> String {
        Truncated(text, limit).to_string()
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
            // Nothing is written after the cut.
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
    fn a_note_follows_the_text_however_long_the_text_is() {
        let note = "(after 2 attempts)";
        let long = "é".repeat(50_000);
        let cut = format!("{}… (100000 bytes) {note}", "é".repeat(DEFAULT_LIMIT / 2));
        let message = Message::new(&*long, Some(note.to_owned()));
        assert_eq!(message.to_string(), cut);
        assert_eq!(message.kept(), cut);
        assert_eq!(message.indented(), cut);
        assert_eq!(message.whole(), format!("{long} {note}"));
        let plain = Message::new("a\nb", None);
        assert_eq!(
            (plain.to_string(), plain.kept()),
            ("a\\nb".to_owned(), "a\nb".to_owned())
        );
        assert_eq!(plain.whole(), "a\nb");
    }

    #[test]
    fn a_text_over_several_lines_is_indented() {
        let text = "left: 1\r\nright: 2\n`forged`";
        let shown = "left: 1\\r\n        right: 2\n        `forged`";
        assert_eq!(Indented(text).to_string(), shown);
    }
}
