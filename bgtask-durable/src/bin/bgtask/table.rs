//! Tables, times and numbers as people read them, and texts of users without what a terminal would obey.
//! Must never know a job.

use std::time::{Duration, SystemTime};

/// A table with a head. Columns of numbers are aligned to the right.
#[derive(Debug)]
pub(crate) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A head that begins with `>` is that of a column of numbers.
    pub(crate) fn new(head: &'static [&'static str]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Its texts are escaped here, so that no column is forgotten.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| escaped(&cell)).collect());
    }

    /// Returns the table as text, or this sentence if it has no rows.
    pub(crate) fn text(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let titles = self.head.iter().map(|title| title.trim_start_matches('>'));
        let titles: Vec<String> = titles.map(str::to_owned).collect();
        let lines = || std::iter::once(&titles).chain(&self.rows);
        let length = |text: &String| text.chars().count();
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(length).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut shown = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                let is_number = self
                    .head
                    .get(column)
                    .is_some_and(|head| head.starts_with('>'));
                if column > 0 {
                    shown += "  ";
                }
                shown += &if is_number {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                };
            }
            text += shown.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Returns lines of names and values, the values below each other.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): (&str, String)| format!("{name:<width$}  {}\n", escaped(&value));
    pairs.into_iter().map(line).collect()
}

/// Returns a text in which no character moves the cursor, changes colours, begins a line or turns the direction of writing.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character is not seen itself, and changes how others are: directions, joiners, separators of lines.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Returns the first line of a text, and of that at most so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most && line.len() == text.trim_end().len() {
        return line.to_owned();
    }
    let mut shown: String = line.chars().take(most.saturating_sub(1)).collect();
    shown.push('…');
    shown
}

/// Returns a time in UTC, to the second.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

pub(crate) fn time_if_any(value: Option<SystemTime>) -> String {
    value.map_or_else(|| "-".to_owned(), time)
}

/// Returns a length of time in its two largest units, or in milliseconds below a second.
pub(crate) fn length(time: Duration) -> String {
    let shown = if time < Duration::from_secs(1) {
        Duration::from_millis(time.as_millis().try_into().unwrap_or(0))
    } else {
        Duration::from_secs(time.as_secs())
    };
    let text = humantime::format_duration(shown).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns a number with its noun: `1 job`, `2 jobs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
