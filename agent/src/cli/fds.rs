use std::process::ExitCode;

use anyhow::{Result, bail};

use super::print::{print, table};
use crate::admin::{FdsPage, KindRow, client};

/// The account and its witnesses differ.
const DRIFT: u8 = 3;

pub fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/fds")?;
    let page: FdsPage = serde_json::from_str(&text)?;
    if page.kernel == "none" {
        bail!("the agent runs without its kernel part, so nobody counts its descriptors; its log says why");
    }
    if json {
        print(&text)?;
    } else {
        print(&readable(&page))?;
    }
    if page.conserved.is_none() {
        eprintln!("not compared: descriptors were opened and closed all the while");
    }
    Ok(match page.conserved {
        Some(false) => ExitCode::from(DRIFT),
        _ => ExitCode::SUCCESS,
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
    text
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
        }
    }

    #[test]
    fn the_verdict_stands_under_the_table() {
        assert!(
            readable(&page(5)).ends_with("\nconserved: preexisting + opened - closed is what both witnesses count\n")
        );
        assert!(readable(&page(3)).ends_with("\nNOT conserved: pipe 5, by iterator 5, by /proc 3\n"));
    }
}
