//! Medians with their spread, and the table of them.

use std::time::{Duration, Instant};

/// Nanoseconds: the median and the quartiles around it.
#[derive(Clone, Copy)]
pub struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self {
            low: at(1),
            median: at(2),
            high: at(3),
        }
    }

    pub fn median(self) -> f64 {
        self.median
    }
}

/// Nanoseconds that one of `calls` takes.
pub fn per_call(calls: u32, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..calls {
        call();
    }
    begin.elapsed().as_nanos() as f64 / f64::from(calls)
}

#[derive(Clone, Copy)]
pub enum Goal {
    None,
    AtMost(Duration),
    /// What was measured cannot tell.
    Unjudged,
    /// No difference that stands out of the spread.
    Nothing,
}

impl Goal {
    pub const fn unjudged(self) -> Self {
        match self {
            Self::None => Self::None,
            _ => Self::Unjudged,
        }
    }

    fn words(self, measured: Spread) -> [String; 2] {
        let (goal, met) = match self {
            Self::None => return [String::new(), String::new()],
            Self::Unjudged => return [String::new(), "not judged".to_owned()],
            Self::AtMost(most) => {
                let most = most.as_nanos() as f64;
                (format!("≤ {}", nanoseconds(most)), measured.median <= most)
            }
            Self::Nothing => ("0".to_owned(), measured.low <= 0.0),
        };
        [goal, if met { "met" } else { "NOT met" }.to_owned()]
    }
}

pub fn nanoseconds(value: f64) -> String {
    let (unit, value) = match value.abs() {
        1e6.. => ("ms", value / 1e6),
        1e3.. => ("µs", value / 1e3),
        _ => ("ns", value),
    };
    let digits = if value.abs() < 100.0 { 1 } else { 0 };
    format!("{value:.digits$} {unit}")
}

pub fn bytes(value: u64) -> String {
    format!("{} KiB", value.div_ceil(1024))
}

const HEAD: [&str; 6] = ["", "without", "with", "added", "goal", ""];

/// In Markdown, so that it can be put into a document as it is.
#[derive(Default)]
pub struct Table(Vec<[String; 6]>);

impl Table {
    pub fn compared(&mut self, name: &str, without: Spread, with: Spread, added: Spread, goal: Goal) {
        self.row(name, nanoseconds(without.median), nanoseconds(with.median), added, goal);
    }

    /// What does not happen at all without the kernel half.
    pub fn alone(&mut self, name: &str, spread: Spread, goal: Goal) {
        self.row(name, String::new(), String::new(), spread, goal);
    }

    fn row(&mut self, name: &str, without: String, with: String, added: Spread, goal: Goal) {
        let [low, median, high] = [added.low, added.median, added.high].map(nanoseconds);
        let [goal, met] = goal.words(added);
        self.0.push([
            name.to_owned(),
            without,
            with,
            format!("{median} ({low} to {high})"),
            goal,
            met,
        ]);
    }

    pub fn print(&self) {
        let head = HEAD.map(str::to_owned);
        let rows = || std::iter::once(&head).chain(&self.0);
        let width = |column: usize| rows().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:width$} |"));
            println!("|{}", cells.collect::<String>());
        };
        line(&head);
        line(&widths.map(|width| "-".repeat(width)));
        self.0.iter().for_each(line);
    }
}
