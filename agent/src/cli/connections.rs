use std::process::ExitCode;

use anyhow::Result;

use super::{or_dash, short};
use crate::admin::{ConnectionsPage, client};

pub fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/connections")?;
    if json {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let page: ConnectionsPage = serde_json::from_str(&text)?;
    println!(
        "{:>10} {:>5} {:>5} {:<12} {:>10} {:<9} {:<12} {:<44} PEER",
        "INODE", "FD", "FDS", "STATE", "AGE", "PURPOSE", "CONTAINER", "OPENED BY"
    );
    for row in &page.connections {
        println!(
            "{:>10} {:>5} {:>5} {:<12} {:>9.1}s {:<9} {:<12} {:<44} {}",
            row.inode,
            row.fd,
            row.descriptors.map_or("-".to_owned(), |n| n.to_string()),
            row.state,
            row.age_seconds,
            or_dash(row.purpose.as_deref()),
            short(row.container.as_deref()),
            or_dash(row.opened_by.as_deref()),
            or_dash(row.peer.as_deref()),
        );
    }
    if page.kernel == "none" {
        eprintln!("the agent runs without its kernel part: this is its own belief, not the kernel's word");
    }
    Ok(ExitCode::SUCCESS)
}
