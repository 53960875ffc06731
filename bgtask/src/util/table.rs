//! A small table for people to read: columns as wide as what is in them.
//! Knows nothing of what they are about.

use crate::util::text::Escaped;
use std::fmt;

/// How a column is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Writes the rows, each on a line of its own that begins with a line break and two spaces. The last column is as wide as it
/// comes. Cells are escaped here, so that none breaks its line.
pub(crate) fn write<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    columns: [(&str, Align); N],
    rows: &[[String; N]],
) -> fmt::Result {
    let escaped = |row: &[String; N]| row.each_ref().map(|cell| Escaped(cell).to_string());
    let rows: Vec<[String; N]> = rows.iter().map(escaped).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let head = columns[column].0.chars().count();
        cells.fold(head, usize::max)
    });
    line(f, columns, widths, columns.map(|(head, _)| head))?;
    for row in &rows {
        line(f, columns, widths, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn line<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    columns: [(&str, Align); N],
    widths: [usize; N],
    cells: [&str; N],
) -> fmt::Result {
    f.write_str("\n")?;
    for (index, cell) in cells.into_iter().enumerate() {
        let width = widths[index];
        match columns[index].1 {
            Align::Right => write!(f, "  {cell:>width$}")?,
            Align::Left if index + 1 == N => write!(f, "  {cell}")?,
            Align::Left => write!(f, "  {cell:width$}")?,
        }
    }
    Ok(())
}
