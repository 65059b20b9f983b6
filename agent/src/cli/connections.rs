use std::process::ExitCode;

use anyhow::Result;

use crate::admin::{ConnectionsPage, client};

pub fn connections(admin: &str, json: bool) -> ExitCode {
    match show(admin, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(admin: &str, json: bool) -> Result<()> {
    let text = client::get(admin, "/connections")?;
    if json {
        print!("{text}");
        return Ok(());
    }
    let page: ConnectionsPage = serde_json::from_str(&text)?;
    println!(
        "{:>10} {:>5} {:>5} {:<12} {:>10} {:<9} {:<12} {:<40} PEER",
        "INODE", "FD", "FDS", "STATE", "AGE", "PURPOSE", "CONTAINER", "OPENED BY"
    );
    for row in &page.connections {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let container: String = or_dash(&row.container).chars().take(12).collect();
        println!(
            "{:>10} {:>5} {:>5} {:<12} {:>9.1}s {:<9} {:<12} {:<40} {}",
            row.inode,
            row.fd,
            row.descriptors.map_or("-".to_owned(), |n| n.to_string()),
            row.state,
            row.age_seconds,
            or_dash(&row.purpose),
            container,
            or_dash(&row.opened_by),
            or_dash(&row.peer),
        );
    }
    if page.kernel == "none" {
        eprintln!("the agent runs without its kernel part: this is its own belief, not the kernel's word");
    }
    Ok(())
}
