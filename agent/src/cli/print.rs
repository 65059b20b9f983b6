//! What the commands print, and what they fail with. On standard output `... | head -1` is no error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::exit::Exit;

/// Writes text as it is.
pub(super) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Columns, each as wide as its widest cell; numbers to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let number = cell.starts_with(|c: char| c.is_ascii_digit());
            // Writing to a string cannot fail.
            let _ = if number {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The exit code of a command that can fail; what it failed with is shown.
pub(super) fn shown(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        Exit::Failure.into()
    })
}

/// What a cell shows where there is nothing to tell.
pub(super) fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// A container's id as `docker ps` shows it.
pub(super) fn short(container: Option<&str>) -> String {
    or_dash(container).chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["A", "NAME"], ["12", "x"], ["3", "longer"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "A   NAME\n12  x\n 3  longer\n");
    }
}
