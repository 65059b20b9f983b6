use std::process::ExitCode;

use anyhow::Result;

use super::exit::Exit;
use super::print::{or_dash, print, short, table};
use crate::admin::{ConnectionsPage, client};

pub(super) fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/connections")?;
    if json {
        print(&text)?;
        return Ok(Exit::Success.into());
    }
    let page: ConnectionsPage = serde_json::from_str(&text)?;
    let head = [
        "INODE",
        "FD",
        "FDS",
        "STATE",
        "AGE",
        "PURPOSE",
        "CONTAINER",
        "OPENED BY",
        "PEER",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(page.connections.iter().map(|row| {
        vec![
            row.inode.to_string(),
            row.fd.to_string(),
            row.descriptors.map_or("-".to_owned(), |count| count.to_string()),
            match row.half_closed_seconds {
                Some(seconds) => format!("{} {seconds:.1}s", row.state),
                None => row.state.clone(),
            },
            format!("{:.1}s", row.age_seconds),
            or_dash(row.purpose.as_deref()).to_owned(),
            short(row.container.as_deref()),
            or_dash(row.opened_by.as_deref()).to_owned(),
            or_dash(row.peer.as_deref()).to_owned(),
        ]
    }));
    print(&table(&rows))?;
    if page.kernel == "none" {
        eprintln!("the agent runs without its kernel half: this is what it believes, not what the kernel says");
    }
    Ok(Exit::Success.into())
}
