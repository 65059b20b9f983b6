use std::process::ExitCode;

use anyhow::{Result, bail};

use super::exit::Exit;
use super::fds::growing;
use super::print::{or_dash, print, short, table};
use crate::admin::{LeaksPage, client};

pub(super) fn show(admin: &str, json: bool) -> Result<ExitCode> {
    let text = client::get(admin, "/leaks")?;
    let page: LeaksPage = serde_json::from_str(&text)?;
    if page.kernel == "none" {
        bail!("the agent runs without its kernel half, so it cannot tell what is leaked; its log says why");
    }
    let found = !page.leaks.is_empty() || !page.growing.is_empty();
    if json {
        print(&text)?;
    } else if !found {
        print("nothing is leaked\n")?;
    } else {
        let head = [
            "INODE",
            "FD",
            "FDS",
            "REASON",
            "LEAKED",
            "AGE",
            "PURPOSE",
            "CONTAINER",
            "OPENED BY",
            "PEER",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        rows.extend(page.leaks.iter().map(|row| {
            vec![
                row.inode.to_string(),
                row.fd.to_string(),
                row.descriptors.to_string(),
                row.reason.clone(),
                format!("{:.1}s", row.leaked_seconds),
                format!("{:.1}s", row.age_seconds),
                or_dash(row.purpose.as_deref()).to_owned(),
                short(row.container.as_deref()),
                or_dash(row.opened_by.as_deref()).to_owned(),
                row.peer.clone(),
            ]
        }));
        if !page.leaks.is_empty() {
            print(&table(&rows))?;
        }
        print(&growing(&page.growing))?;
    }
    Ok(if found {
        Exit::Found.into()
    } else {
        Exit::Success.into()
    })
}
