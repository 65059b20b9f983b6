//! `exit-codes.md`: from the agent's own table.

use anyhow::Result;

use super::commands::exit::Exit;

pub fn page() -> Result<String> {
    let rows = Exit::ALL.map(|exit| format!("| {} | {} |\n", exit.code(), exit.meaning()));
    Ok(format!(
        "# Exit codes\n\nOf every command of `log-capturer`; [commands.md](commands.md) has the commands.\n\n\
         | code | meaning |\n|---|---|\n{}",
        rows.concat()
    ))
}
