//! What `deploy/observability` says is so: a query names metrics and labels that exist, an alert has a runbook and is shown
//! to fire and to be quiet, and a panel can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use private_engine::find_tool;
use serde_json::Value;

use super::links;
use crate::cargo;
use crate::setup::{self, Part};

const FOLDER: &str = "deploy/observability";
const METRICS: &str = "docs/reference/metrics.md";
/// Prometheus' own labels, and those of what it makes itself.
const LABELS: [&str; 3] = ["job", "instance", "le"];
const MADE_BY_PROMETHEUS: &str = "up";

pub fn check() -> Result<()> {
    let read = |name: &str| {
        let path = cargo::root().join(FOLDER).join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let rules: Value = serde_saphyr::from_str(&read("alerts.yaml")?)?;
    let tests: Value = serde_saphyr::from_str(&read("alerts.test.yaml")?)?;
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")?)?;
    let metrics = std::fs::read_to_string(cargo::root().join(METRICS)).context(METRICS)?;

    let mut known = known(&metrics);
    ensure!(known.len() > 20, "{METRICS} names hardly any metric");
    let rules = self::rules(&rules);
    ensure!(!rules.is_empty(), "no rule in {FOLDER}/alerts.yaml");
    // Labels of a recorded series are not told; it is enough that it is recorded.
    known.extend(
        rules
            .iter()
            .filter_map(|rule| Some((text(rule, "record")?.to_owned(), None))),
    );

    let mut found = Vec::new();
    for rule in &rules {
        let name = text(rule, "alert").or_else(|| text(rule, "record")).unwrap_or_default();
        let complain = |complaint: String| format!("  {FOLDER}/alerts.yaml: {name}: {complaint}");
        let expression = text(rule, "expr").unwrap_or_default();
        found.extend(unknown(expression, &known).into_iter().map(complain));
        if text(rule, "alert").is_some() {
            found.extend(lacks(rule, &tests).into_iter().map(complain));
        }
    }
    found.extend(panels(&dashboard, &known));
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    try_rules()
}

/// Every series of the reference with its labels.
fn known(metrics: &str) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut known: BTreeMap<_, _> = [(MADE_BY_PROMETHEUS.to_owned(), None)].into();
    for line in metrics.lines() {
        let codes: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        if let Some(row) = line.strip_prefix("| `log_capturer_") {
            let columns: Vec<&str> = row.split(" | ").collect();
            let labels = columns.get(2).unwrap_or(&"").split('`').skip(1).step_by(2);
            let labels: BTreeSet<String> = labels.map(str::to_owned).collect();
            let suffixes: &[&str] = match columns.get(1) {
                Some(&"histogram") => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let series = suffixes.iter().map(|suffix| format!("{}{suffix}", codes[0]));
            known.extend(series.map(|name| (name, Some(labels.clone()))));
        } else {
            let of_the_process = codes.iter().filter(|code| code.starts_with("process_"));
            known.extend(of_the_process.map(|code| (code.to_string(), Some(BTreeSet::new()))));
        }
    }
    known
}

fn rules(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().into_iter().flatten();
    groups
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

/// What a query names and nobody makes.
fn unknown(query: &str, known: &BTreeMap<String, Option<BTreeSet<String>>>) -> Vec<String> {
    let mut found = Vec::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut rest = query;
    while let Some(at) = rest.find(is_part) {
        let name = rest[at..].split(|c| !is_part(c)).next().unwrap_or_default();
        rest = &rest[at + name.len()..];
        let is_ours = ["log_capturer", "process_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let is_up = name == MADE_BY_PROMETHEUS && rest.starts_with('{');
        if !is_ours && !is_up {
            continue;
        }
        let Some(labels) = known.get(name) else {
            found.push(format!("there is no metric {name}"));
            continue;
        };
        let selected = rest.strip_prefix('{').and_then(|rest| Some(rest.split_once('}')?.0));
        for label in selected.into_iter().flat_map(label_names) {
            let exists = labels.as_ref().is_none_or(|labels| labels.contains(label));
            if !exists && !LABELS.contains(&label) {
                found.push(format!("{name} has no label {label}"));
            }
        }
        // A value between quotes can look like a name.
        rest = selected.map_or(rest, |selected| &rest[selected.len() + 2..]);
    }
    found
}

/// From `a="x",b!~"y"`: `a` and `b`.
fn label_names(selected: &str) -> impl Iterator<Item = &str> {
    let outside_of_quotes = selected.split('"').step_by(2);
    outside_of_quotes
        .map(|part| part.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|name| !name.is_empty())
}

/// What an alert must have and has not.
fn lacks(alert: &Value, tests: &Value) -> Vec<String> {
    let name = text(alert, "alert").unwrap_or_default();
    let mut found = Vec::new();
    let runbook = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
    match runbook.split_once('#') {
        Some((page, anchor)) if links::has_heading(Path::new(page), anchor) => {}
        _ => found.push(format!("its runbook_url {runbook:?} leads to no heading")),
    }
    if alert["annotations"]["summary"].as_str().is_none() {
        found.push("it has no summary".to_owned());
    }
    let groups = tests["tests"].as_array().into_iter().flatten();
    let outcomes: Vec<bool> = groups
        .flat_map(|group| group["alert_rule_test"].as_array().into_iter().flatten())
        .filter(|test| text(test, "alertname") == Some(name))
        .map(|test| test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty()))
        .collect();
    for (outcome, words) in [(true, "it fires"), (false, "it is quiet")] {
        if !outcomes.contains(&outcome) {
            found.push(format!("no test shows when {words}"));
        }
    }
    found
}

/// The rules of Grafana's dashboard linter, as far as a file can break them.
fn panels(dashboard: &Value, known: &BTreeMap<String, Option<BTreeSet<String>>>) -> Vec<String> {
    let mut found = Vec::new();
    let variables = dashboard["templating"]["list"].as_array().into_iter().flatten();
    let variables: BTreeSet<&str> = variables.filter_map(|variable| text(variable, "name")).collect();
    for wanted in ["datasource", "job", "instance"] {
        if !variables.contains(wanted) {
            found.push(format!("  {FOLDER}/dashboard.json: it has no variable {wanted}"));
        }
    }
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    for panel in panels.filter(|panel| text(panel, "type") != Some("row")) {
        let title = text(panel, "title").unwrap_or_default();
        let mut complain = |complaint: String| found.push(format!("  {FOLDER}/dashboard.json: {title:?}: {complaint}"));
        let has = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        for (what, there) in [
            ("title", has(&panel["title"])),
            ("description", has(&panel["description"])),
            ("unit", has(&panel["fieldConfig"]["defaults"]["unit"])),
            (
                "variable for its data source",
                panel["datasource"]["uid"] == "$datasource",
            ),
        ] {
            if !there {
                complain(format!("it has no {what}"));
            }
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = text(target, "expr").unwrap_or_default();
            unknown(query, known).into_iter().for_each(&mut complain);
            if !query.contains(r#"job=~"$job", instance=~"$instance""#) {
                complain(format!("it does not select by job and instance: {query}"));
            }
            let ranges = query.split('[').skip(1).filter_map(|rest| rest.split(']').next());
            for range in ranges.filter(|range| *range != "$__rate_interval") {
                complain(format!("the range {range} instead of $__rate_interval"));
            }
        }
    }
    found
}

fn try_rules() -> Result<()> {
    if find_tool("promtool").is_none() {
        setup::ensure(&[Part::Witnesses]);
    }
    let Some(promtool) = find_tool("promtool") else {
        let reason = "the rules' own tests need promtool (Debian: prometheus)";
        let require_all = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
        ensure!(!require_all, "not run: {reason}");
        println!("not run: {reason}");
        return Ok(());
    };
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let mut command = Command::new(&promtool);
        let output = command
            .args(arguments)
            .current_dir(cargo::root().join(FOLDER))
            .output()
            .context("promtool")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("promtool {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&said));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REFERENCE: &str = "\
The usual: `process_open_fds`.

| name | type | labels | meaning |
|---|---|---|---|
| `log_capturer_gaps_total` | counter | `container` | Gaps, as `other` says. |
| `log_capturer_age_seconds` | histogram |  | An age. |
";

    #[test]
    fn names_that_exist_are_taken() {
        let known = known(REFERENCE);
        for query in [
            r#"sum by (container) (rate(log_capturer_gaps_total{job="log_capturer_x", container!~"a|b"}[5m])) > 0"#,
            "histogram_quantile(0.9, log_capturer_age_seconds_bucket{le=\"1\"})",
            "process_open_fds / 2 and up{job=\"a\"} == 0",
        ] {
            assert_eq!(unknown(query, &known), [""; 0], "{query}");
        }
    }

    #[test]
    fn names_that_nobody_makes_are_told() {
        let known = known(REFERENCE);
        for (query, told) in [
            (
                "rate(log_capturer_gap_total[5m])",
                "there is no metric log_capturer_gap_total",
            ),
            ("log_capturer:ratio > 1", "there is no metric log_capturer:ratio"),
            (
                "log_capturer_age_seconds",
                "there is no metric log_capturer_age_seconds",
            ),
            ("process_fds", "there is no metric process_fds"),
            (
                "log_capturer_gaps_total_sum",
                "there is no metric log_capturer_gaps_total_sum",
            ),
            (
                r#"log_capturer_gaps_total{other="x"}"#,
                "log_capturer_gaps_total has no label other",
            ),
        ] {
            assert_eq!(unknown(query, &known), [told], "{query}");
        }
    }

    #[test]
    fn a_panel_that_nobody_can_read_is_told() {
        let dashboard = json!({
            "templating": {"list": [{"name": "datasource"}, {"name": "job"}]},
            "panels": [{"type": "row"}, {
                "title": "Gaps", "description": "Gaps.", "datasource": {"uid": "x"},
                "targets": [{"expr": "rate(log_capturer_gaps_total[5m])"}],
            }],
        });
        let found = panels(&dashboard, &known(REFERENCE)).join("\n");
        for told in [
            "no variable instance",
            "\"Gaps\": it has no unit",
            "\"Gaps\": it has no variable for its data source",
            "does not select by job and instance",
            "the range 5m instead of $__rate_interval",
        ] {
            assert!(found.contains(told), "no {told:?} in\n{found}");
        }
        assert_eq!(found.lines().count(), 5, "{found}");
    }

    #[test]
    fn an_alert_without_a_runbook_or_a_test_is_told() {
        let alert = json!({"alert": "A", "annotations": {"summary": "s", "runbook_url": "README.md#no-such-heading"}});
        let tests = json!({"tests": [{"alert_rule_test": [{"alertname": "A", "exp_alerts": []}]}]});
        let found = lacks(&alert, &tests);
        assert_eq!(
            found,
            [
                "its runbook_url \"README.md#no-such-heading\" leads to no heading",
                "no test shows when it fires"
            ]
        );
    }
}
