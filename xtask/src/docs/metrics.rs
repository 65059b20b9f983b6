//! `metrics.md`: every metric that a file named `metrics.rs` makes.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use syn::visit::Visit;
use syn::{Expr, ExprCall, FnArg, Item, ItemFn, Lit};

use super::attributes::doc;
use super::prose::{cell, marked};
use super::types::Types;
use crate::source::{self, Source};

/// The functions of `agent/src/metrics.rs` that make a metric, with what they make.
const MAKERS: [(&str, &str); 8] = [
    ("counter", "counter"),
    ("counters", "counter"),
    ("gauge", "gauge"),
    ("gauges", "gauge"),
    ("ratio", "gauge"),
    ("ratios", "gauge"),
    ("histogram", "histogram"),
    ("histograms", "histogram"),
];
/// The histograms that are kept in the kernel half are made by their type.
const VIEW: &str = "HistogramView";

/// What the registry of `agent/src/metrics.rs` puts before every name.
const PREFIX: &str = "log_capturer_";

const INTRODUCTION: &str = "\
# Metrics

What `GET /metrics` of the admin server (`admin.listen`) answers, in the text format of Prometheus.
The label `container` is the container's name; the series of a container go away with it.

Beside these there are the usual metrics of the process: `process_open_fds`, `process_max_fds`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_cpu_seconds_total`,
`process_start_time_seconds` and `process_threads`.
";

struct Metric {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

pub fn page() -> Result<String> {
    let sources = source::agent()?;
    ensure_known_makers(&sources)?;
    let tree = Types::of(&sources).tree("Config")?;
    let is_key = |word: &str| tree.leaves.iter().any(|leaf| leaf.key == word && word.contains('.'));
    let mut text = INTRODUCTION.to_owned();
    for source in sources.iter().filter(|source| source.path.ends_with("metrics.rs")) {
        let metrics = read(source)?;
        let Some(folder) = source.path.parent().filter(|_| !metrics.is_empty()) else {
            continue;
        };
        let about = doc(&source.file.attrs);
        write!(text, "\n## {}\n\n{about}\n\n", folder.display())?;
        text.push_str("| name | type | labels | meaning |\n|---|---|---|---|\n");
        for metric in metrics {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let Metric { name, kind, help, .. } = &metric;
            let help = cell(&marked(help, is_key));
            writeln!(text, "| `{PREFIX}{name}` | {kind} | {} | {help} |", labels.join(", "))?;
        }
    }
    Ok(text)
}

/// A function that makes a metric and is not known here would leave its metrics out of the page.
fn ensure_known_makers(sources: &[Source]) -> Result<()> {
    let root = sources.iter().find(|source| source.path.as_os_str() == "metrics.rs");
    let root = root.context("no agent/src/metrics.rs")?;
    let makers = root.file.items.iter().filter_map(|item| match item {
        Item::Fn(function) if takes_registry(function) => Some(function.sig.ident.to_string()),
        _ => None,
    });
    let unknown: Vec<_> = makers.filter(|name| name != "enter" && kind(name).is_none()).collect();
    ensure!(
        unknown.is_empty(),
        "xtask/src/docs/metrics.rs does not know {unknown:?}"
    );
    Ok(())
}

fn takes_registry(function: &ItemFn) -> bool {
    function.sig.inputs.first().is_some_and(|input| match input {
        FnArg::Typed(argument) => {
            matches!(&*argument.pat, syn::Pat::Ident(pattern) if pattern.ident == "registry")
        }
        FnArg::Receiver(_) => false,
    })
}

fn kind(maker: &str) -> Option<&'static str> {
    MAKERS.iter().find(|(name, _)| *name == maker).map(|(_, kind)| *kind)
}

fn read(source: &Source) -> Result<Vec<Metric>> {
    let mut calls = Calls::default();
    calls.visit_file(&source.file);
    let metrics: Result<Vec<_>> = calls
        .0
        .into_iter()
        .map(|(kind, arguments)| metric(kind, &arguments))
        .collect();
    metrics.with_context(|| source.path.display().to_string())
}

/// The calls that make a metric, with what they make and their arguments.
#[derive(Default)]
struct Calls(Vec<(&'static str, Vec<Expr>)>);

impl Visit<'_> for Calls {
    fn visit_expr_call(&mut self, call: &ExprCall) {
        if let Some(kind) = made_by(call) {
            self.0.push((kind, call.args.iter().cloned().collect()));
        }
        syn::visit::visit_expr_call(self, call);
    }
}

fn made_by(call: &ExprCall) -> Option<&'static str> {
    let Expr::Path(path) = &*call.func else {
        return None;
    };
    let names: Vec<_> = path.path.segments.iter().map(|part| part.ident.to_string()).collect();
    match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name] => kind(name),
        [VIEW, "new"] => Some("histogram"),
        _ => None,
    }
}

/// After the registry come name and help, or the options that hold them, and then the labels.
fn metric(kind: &'static str, arguments: &[Expr]) -> Result<Metric> {
    let mut texts = Texts::default();
    for argument in &arguments[1..] {
        texts.visit_expr(argument);
    }
    let [name, help, labels @ ..] = &texts.0[..] else {
        bail!("a metric without a name and a help text in literals");
    };
    Ok(Metric {
        name: name.clone(),
        kind,
        labels: labels.to_vec(),
        help: help.clone(),
    })
}

/// All texts in an expression, in order.
#[derive(Default)]
struct Texts(Vec<String>);

impl Visit<'_> for Texts {
    fn visit_lit(&mut self, literal: &Lit) {
        if let Lit::Str(text) = literal {
            self.0.push(text.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_read_with_its_labels() {
        let code = r#"fn new(registry: &Registry) -> Metrics {
            Metrics {
                opened: counters(registry, "opened_total", "What was \
                    opened.", &["peer", "state"])?,
                age: histogram(registry, HistogramOpts::new("age_seconds", "How old.").buckets(AGES.to_vec()))?,
                view: HistogramView::new(registry, "view_seconds", "Kept elsewhere.")?,
                other: other(registry, "not_a_metric"),
            }
        }"#;
        let metrics = read(&Source::parse("a/metrics.rs", code).unwrap()).unwrap();
        let told: Vec<_> = metrics
            .iter()
            .map(|metric| format!("{} {} {:?} {}", metric.kind, metric.name, metric.labels, metric.help))
            .collect();
        assert_eq!(
            told,
            [
                r#"counter opened_total ["peer", "state"] What was opened."#,
                "histogram age_seconds [] How old.",
                "histogram view_seconds [] Kept elsewhere.",
            ]
        );
    }

    #[test]
    fn a_way_to_make_metrics_that_is_not_known_is_refused() {
        let root = |name: &str| {
            let code = format!("pub fn {name}(registry: &Registry, name: &str) {{}} pub fn registry() {{}}");
            ensure_known_makers(&[Source::parse("metrics.rs", &code).unwrap()])
        };
        assert!(root("counter").is_ok());
        assert!(root("summary").unwrap_err().to_string().contains("summary"));
    }
}
