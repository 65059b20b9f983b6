use std::process::ExitCode;

use anyhow::{Result, bail};

use super::exit::Exit;
use super::print::{print, table};
use crate::admin::{FdsPage, GrowingRow, KindRow, client};

pub(super) fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/fds")?;
    let page: FdsPage = serde_json::from_str(&text)?;
    if page.kernel == "none" {
        bail!("the agent runs without its kernel half, so nothing counts its descriptors; its log says why");
    }
    if json {
        print(&text)?;
    } else {
        print(&readable(&page))?;
    }
    if page.conserved.is_none() {
        eprintln!("not compared: descriptors were opened and closed all the time");
    }
    Ok(if page.conserved == Some(false) || !page.growing.is_empty() {
        Exit::Found.into()
    } else {
        Exit::Success.into()
    })
}

fn readable(page: &FdsPage) -> String {
    let head = [
        "KIND",
        "OPEN",
        "PREEXISTING",
        "OPENED",
        "CLOSED",
        "BY ITERATOR",
        "BY /PROC",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(page.kinds.iter().map(|row| {
        let witness = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        vec![
            row.kind.clone(),
            row.open.to_string(),
            row.preexisting.to_string(),
            row.opened.to_string(),
            row.closed.to_string(),
            witness(row.iterator),
            witness(row.proc),
        ]
    }));
    let mut text = table(&rows);
    match page.conserved {
        Some(true) => text += "conserved: preexisting + opened - closed is what both witnesses count\n",
        Some(false) => text += &format!("NOT conserved: {}\n", differences(page)),
        None => {}
    }
    if page.missed_events != 0 {
        text += &format!(
            "in doubt: the kernel skipped {} events before the last scan; totals may be short by them, what is open is not\n",
            page.missed_events
        );
    }
    text + &growing(&page.growing)
}

/// A line for each kind that only ever grows.
pub(super) fn growing(rows: &[GrowingRow]) -> String {
    let line = |row: &GrowingRow| {
        let GrowingRow {
            kind,
            open,
            by,
            seconds,
            per_hour,
        } = row;
        format!("{kind} only ever grows: {open} open, {by} more in {seconds:.0}s, {per_hour:.0} an hour\n")
    };
    rows.iter().map(line).collect()
}

fn differences(page: &FdsPage) -> String {
    let differs = |row: &&KindRow| {
        [row.iterator, row.proc]
            .iter()
            .flatten()
            .any(|&count| count != row.open)
    };
    let rows = page.kinds.iter().filter(differs);
    let named = rows.map(|row| {
        let [iterator, proc] = [row.iterator, row.proc].map(Option::unwrap_or_default);
        format!("{} {}, by iterator {iterator}, by /proc {proc}", row.kind, row.open)
    });
    named.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(proc: u64) -> FdsPage {
        FdsPage {
            kernel: "tracepoint".into(),
            conserved: Some(proc == 5),
            kinds: vec![KindRow {
                kind: "pipe".into(),
                open: 5,
                preexisting: 2,
                opened: 4,
                closed: 1,
                found: 0,
                repaired: 0,
                iterator: Some(5),
                proc: Some(proc),
            }],
            growing: Vec::new(),
            missed_events: 0,
        }
    }

    #[test]
    fn the_verdict_stands_under_the_table() {
        assert!(
            readable(&page(5)).ends_with("\nconserved: preexisting + opened - closed is what both witnesses count\n")
        );
        assert!(readable(&page(3)).ends_with("\nNOT conserved: pipe 5, by iterator 5, by /proc 3\n"));
    }

    #[test]
    fn what_was_missed_is_said() {
        let mut page = page(5);
        assert!(!readable(&page).contains("in doubt"));
        page.missed_events = 7;
        assert!(readable(&page).contains("\nin doubt: the kernel skipped 7 events"));
    }

    #[test]
    fn a_kind_that_grows_has_a_line_of_its_own() {
        let mut page = page(5);
        page.growing.push(GrowingRow {
            kind: "pipe".into(),
            open: 40,
            by: 30,
            seconds: 60.0,
            per_hour: 1800.0,
        });
        assert!(readable(&page).ends_with("\npipe only ever grows: 40 open, 30 more in 60s, 1800 an hour\n"));
    }
}
