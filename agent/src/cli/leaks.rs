use std::process::ExitCode;

use anyhow::{Result, bail};

use super::{or_dash, short};
use crate::admin::{LeaksPage, client};

/// Something is leaked.
const LEAKS: u8 = 3;

pub fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/leaks")?;
    let page: LeaksPage = serde_json::from_str(&text)?;
    if page.kernel == "none" {
        bail!("the agent runs without its kernel part, so it cannot tell what is leaked; its log says why");
    }
    if json {
        print!("{text}");
    } else if page.leaks.is_empty() {
        println!("nothing is leaked");
    } else {
        println!(
            "{:>10} {:>5} {:>5} {:<20} {:>10} {:>10} {:<9} {:<12} {:<44} PEER",
            "INODE", "FD", "FDS", "REASON", "LEAKED", "AGE", "PURPOSE", "CONTAINER", "OPENED BY"
        );
        for row in &page.leaks {
            println!(
                "{:>10} {:>5} {:>5} {:<20} {:>9.1}s {:>9.1}s {:<9} {:<12} {:<44} {}",
                row.inode,
                row.fd,
                row.descriptors,
                row.reason,
                row.leaked_seconds,
                row.age_seconds,
                or_dash(row.purpose.as_deref()),
                short(row.container.as_deref()),
                or_dash(row.opened_by.as_deref()),
                row.peer,
            );
        }
    }
    Ok(if page.leaks.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(LEAKS)
    })
}
