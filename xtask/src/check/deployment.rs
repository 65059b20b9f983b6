//! What `deploy` holds can be used: the stack and the compose file are such, the unit is shut off from the host as far as
//! is promised, and all of them give the same capabilities.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use private_engine::find_tool;
use serde_json::Value;

use crate::cargo;

const UNIT: &str = "deploy/systemd/log-capturer.service";
const FILES: [&str; 2] = ["deploy/compose.yaml", "deploy/stack.yaml"];
/// Tenths, as `systemd-analyze security` takes them. The promise is 2.0.
const EXPOSURE: &str = "20";

pub fn check() -> Result<()> {
    let unit = std::fs::read_to_string(cargo::root().join(UNIT)).context(UNIT)?;
    let wanted = of_unit(&unit);
    ensure!(!wanted.is_empty(), "{UNIT} names no capability");
    for file in FILES {
        let text = std::fs::read_to_string(cargo::root().join(file)).context(file)?;
        let compose: Value = serde_saphyr::from_str(&text).context(file)?;
        let given = of_service(&compose);
        ensure!(given == wanted, "{file} gives {given:?}, and {UNIT} gives {wanted:?}");
    }
    try_tool(
        "systemd-analyze",
        &["security", "--offline=true", "--threshold", EXPOSURE, UNIT],
    )?;
    try_tool("docker", &["stack", "config", "--compose-file", FILES[1]])
}

fn of_unit(unit: &str) -> BTreeSet<String> {
    let bounds = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = bounds.unwrap_or_default().split_whitespace();
    names.map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
}

fn of_service(compose: &Value) -> BTreeSet<String> {
    let names = compose["services"]["log-capturer"]["cap_add"].as_array();
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// A machine that lacks the tool says so, and in CI fails.
fn try_tool(name: &str, arguments: &[&str]) -> Result<()> {
    let Some(tool) = find_tool(name) else {
        let require_all = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
        ensure!(!require_all, "not run: it needs {name}");
        println!("not run: {name} {}: it needs {name}", arguments.join(" "));
        return Ok(());
    };
    let output = Command::new(tool).args(arguments).current_dir(cargo::root()).output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{name} {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&said));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn capabilities_are_read_from_both() {
        let wanted: BTreeSet<String> = ["BPF".to_owned(), "PERFMON".to_owned()].into();
        assert_eq!(
            of_unit("[Service]\nCapabilityBoundingSet=CAP_BPF CAP_PERFMON\n"),
            wanted
        );
        let compose = json!({"services": {"log-capturer": {"cap_add": ["PERFMON", "BPF"]}}});
        assert_eq!(of_service(&compose), wanted);
    }
}
