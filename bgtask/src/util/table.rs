//! Small tables for people: each column is as wide as its content.
//! Must never know what a table shows.

use crate::util::text::Escaped;
use std::fmt;

/// The alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Writes the head and the rows, each after a line break and indented by two spaces. The last column is not padded. Escapes the
/// cells, so that none breaks its line.
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
