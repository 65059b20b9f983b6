//! Tables, as Markdown.

use std::fmt::Write;

/// Stands where nothing was measured.
pub const NONE: &str = "–";

/// With a dash for what was not measured.
pub fn figure(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        NONE.to_owned()
    }
}

/// The first row is the head. Columns in which no row has anything are left out.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let used = (0..columns).filter(|&column| rows.iter().skip(1).any(|row| row[column] != NONE));
    let used: Vec<usize> = used.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for &column in &used {
            let cell = &row[column];
            let space = " ".repeat(width(column) - cell.chars().count());
            // Names to the left, figures to the right.
            let _ = if column == 0 {
                write!(text, "| {cell}{space} ")
            } else {
                write!(text, "| {space}{cell} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for &column in &used {
                let dashes = "-".repeat(width(column) + 1);
                let _ = if column == 0 {
                    write!(text, "|{dashes}-")
                } else {
                    write!(text, "|{dashes}:")
                };
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_leaves_out_what_nobody_has() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = markdown(&[row(["", "a", "b"]), row(["x", "1.0", NONE]), row(["yy", "10.0", NONE])]);
        assert_eq!(text, "|    |    a |\n|----|-----:|\n| x  |  1.0 |\n| yy | 10.0 |\n");
    }

    #[test]
    fn a_figure_that_is_none() {
        assert_eq!(figure(1.0 / 3.0, 2), "0.33");
        assert_eq!(figure(f64::NAN, 2), NONE);
    }
}
