use std::process::ExitCode;

use anyhow::Result;

use super::exit::Exit;
use super::print::{print, table};
use crate::admin::{AccountPage, ContainerRow, Places, client};

pub(super) fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/account")?;
    let page: AccountPage = serde_json::from_str(&text)?;
    let shown = if json { text } else { readable(&page) };
    print(&shown)?;
    Ok(if page.adds_up && page.gaps == 0 {
        Exit::Success.into()
    } else {
        Exit::Found.into()
    })
}

fn readable(page: &AccountPage) -> String {
    let head = [
        "CONTAINER",
        "SINK",
        "READ",
        "DELIVERED",
        "DEDUPLICATED",
        "DROPPED",
        "DEAD",
        "SPOOLED",
        "WAITING",
        "GAPS",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    let all = || {
        page.containers
            .iter()
            .flat_map(|row| row.sinks.iter().map(move |places| (row, places)))
    };
    rows.extend(all().map(|(row, places)| {
        vec![
            name(row),
            places.sink.clone(),
            row.read.to_string(),
            places.delivered.to_string(),
            row.deduplicated.to_string(),
            places.dropped.to_string(),
            places.dead.to_string(),
            places.spooled.to_string(),
            places.waiting.to_string(),
            row.gaps.to_string(),
        ]
    }));
    let mut text = table(&rows);
    for (row, places) in all() {
        text += &remarks(row, places);
    }
    for sink in page.sinks.iter().filter(|sink| sink.drift != 0 || !sink.is_right) {
        let drift = sink.drift;
        text += &format!(
            "sink {}: what waits for it is not what was given to it (drift {drift})\n",
            sink.sink
        );
    }
    for row in page.containers.iter().filter(|row| row.gaps > 0) {
        text += &format!("{}: lines may be missing at {} places\n", name(row), row.gaps);
    }
    text += if page.adds_up {
        "adds up: read = delivered + deduplicated + dropped + dead + spooled + waiting, for each sink\n"
    } else {
        "does NOT add up\n"
    };
    text
}

/// What the columns do not tell.
fn remarks(row: &ContainerRow, places: &Places) -> String {
    let mut text = String::new();
    let mut add = |lines: u64, what: &str| {
        if lines > 0 {
            text += &format!("{}, sink {}: {lines} lines {what}\n", name(row), places.sink);
        }
    };
    add(places.before, "were read before the sink was configured");
    add(
        places.earlier,
        "are there from before the agent was killed, and have not been read again",
    );
    add(
        places.difference.max(0).unsigned_abs(),
        "were read, and nobody knows where they are",
    );
    add(places.difference.min(0).unsigned_abs(), "more are there than were read");
    text
}

fn name(row: &ContainerRow) -> String {
    let short = |id: &String| id.chars().take(12).collect();
    let name = row.container.clone().or_else(|| row.id.as_ref().map(short));
    match (name, row.removed) {
        (Some(name), false) => name,
        (Some(name), true) => format!("{name} (removed)"),
        (None, _) => "(removed before)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::SinkRow;

    fn page(difference: i64, gaps: u64) -> AccountPage {
        let places = Places {
            sink: "main".into(),
            delivered: 7,
            before: 2,
            difference,
            ..Places::default()
        };
        let row = ContainerRow {
            container: Some("web".into()),
            id: Some("0123456789abcdef".into()),
            removed: true,
            read: 9,
            gaps,
            sinks: vec![places],
            ..ContainerRow::default()
        };
        let sink = SinkRow {
            sink: "main".into(),
            drift: 0,
            is_right: true,
        };
        AccountPage::new(vec![sink], vec![row])
    }

    #[test]
    fn the_verdict_is_the_last_line_and_names_stand_before_it() {
        let text = readable(&page(0, 0));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("web (removed)  main") && lines[1].contains(" 9 "),
            "{text}"
        );
        assert_eq!(
            lines[2],
            "web (removed), sink main: 2 lines were read before the sink was configured"
        );
        assert!(lines[3].starts_with("adds up: "));
        let text = readable(&page(3, 0));
        assert!(text.ends_with(
            "web (removed), sink main: 3 lines were read, and nobody knows where they are\ndoes NOT add up\n"
        ));
        let text = readable(&page(0, 1));
        assert!(
            text.contains("web (removed): lines may be missing at 1 places\nadds up"),
            "{text}"
        );
    }
}
