//! A metric that nothing ever changes is a promise to the dashboards that is not kept.
//!
//! Metrics are struct fields of prometheus types in files named `metrics.rs`. Each must be changed
//! somewhere, or handed out as a handle to someone who does; registering it, reading it and removing
//! its series are neither.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;

use crate::source::{self, Source, is_punct};

const TYPES: [&str; 14] = [
    "Counter",
    "CounterVec",
    "IntCounter",
    "IntCounterVec",
    "GenericCounter",
    "GenericCounterVec",
    "Gauge",
    "GaugeVec",
    "IntGauge",
    "IntGaugeVec",
    "GenericGauge",
    "GenericGaugeVec",
    "Histogram",
    "HistogramVec",
];

/// What neither changes a metric nor hands it out.
const IDLE: [&str; 11] = [
    "get",
    "collect",
    "desc",
    "get_sample_count",
    "get_sample_sum",
    "remove",
    "remove_label_values",
    "reset",
    "iter",
    "len",
    "is_empty",
];

pub fn check() -> Result<()> {
    let sources = source::agent()?;
    let fields = fields(&sources);
    ensure!(
        !fields.is_empty(),
        "no metric found in any metrics.rs: this check has lost what it looks at"
    );
    let unchanged = unchanged(&sources, &fields);
    ensure!(
        unchanged.is_empty(),
        "change it where the thing happens, or drop it:\n{}",
        unchanged.join("\n")
    );
    Ok(())
}

struct Field {
    name: String,
    file: PathBuf,
    line: usize,
}

fn fields(sources: &[Source]) -> Vec<Field> {
    let mut fields = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("metrics.rs")) {
        let mut collector = Collector {
            file: &source.path,
            fields: &mut fields,
        };
        collector.visit_file(&source.file);
    }
    fields
}

struct Collector<'a> {
    file: &'a Path,
    fields: &'a mut Vec<Field>,
}

impl Visit<'_> for Collector<'_> {
    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        for (index, field) in item.fields.iter().enumerate() {
            if is_metric(&field.ty) {
                let name = field
                    .ident
                    .as_ref()
                    .map_or_else(|| index.to_string(), ToString::to_string);
                let line = syn::spanned::Spanned::span(&field.ty).start().line;
                self.fields.push(Field {
                    name,
                    file: self.file.to_owned(),
                    line,
                });
            }
        }
    }
}

/// Also within an array, a map or an `Option`.
fn is_metric(ty: &syn::Type) -> bool {
    let mut found = false;
    source::each_level(ty.to_token_stream(), &mut |level| {
        found |= level
            .iter()
            .any(|tree| matches!(tree, TokenTree::Ident(name) if TYPES.iter().any(|ty| name == ty)));
    });
    found
}

fn unchanged(sources: &[Source], fields: &[Field]) -> Vec<String> {
    // Two components may give a field the same name: a use belongs to the innermost directory around it.
    let mut definers: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for field in fields {
        definers.entry(&field.name).or_default().push(&field.file);
    }
    let mut changed: Vec<(String, PathBuf)> = Vec::new();
    for source in sources {
        uses(source.tokens(), &mut |name| {
            for owner in definers
                .get(name)
                .into_iter()
                .flat_map(|files| owners(files, &source.path))
            {
                changed.push((name.to_owned(), owner.to_owned()));
            }
        });
    }
    let is_changed = |field: &&Field| {
        !changed
            .iter()
            .any(|(name, file)| *name == field.name && *file == field.file)
    };
    let lines = fields.iter().filter(is_changed);
    lines
        .map(|field| format!("  agent/src/{}:{}: {}", field.file.display(), field.line, field.name))
        .collect()
}

/// The files among those that define a name that a use in `user` can mean.
fn owners<'a>(definers: &[&'a Path], user: &Path) -> Vec<&'a Path> {
    let around = definers
        .iter()
        .copied()
        .filter(|file| file.parent().is_some_and(|parent| user.starts_with(parent)));
    match around.max_by_key(|file| file.iter().count()) {
        Some(innermost) => vec![innermost],
        None if definers.len() == 1 => definers.to_vec(),
        None => Vec::new(),
    }
}

/// Calls `found` with every field that is changed or handed out.
fn uses(tokens: TokenStream, found: &mut impl FnMut(&str)) {
    let level: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, tree) in level.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            if !is_registration(&level[..at]) {
                uses(group.stream(), found);
            }
        } else if at > 0 && is_punct(level.get(at - 1), '.') && is_used(&level[at + 1..]) {
            found(&tree.to_string());
        }
    }
}

/// The arguments of `registry.register(...)` and its kind.
fn is_registration(before: &[TokenTree]) -> bool {
    matches!(before.last(), Some(TokenTree::Ident(name)) if name.to_string().starts_with("register"))
}

/// From what follows a field: the end of the chain of calls decides.
fn is_used(after: &[TokenTree]) -> bool {
    match after {
        // `.name(...)` is a method of that name, not the field.
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Parenthesis => false,
        _ => !calls(after).any(|call| IDLE.contains(&call.as_str())),
    }
}

/// The method names of a chain: `[0].with_label_values(..).get()`.
fn calls(after: &[TokenTree]) -> impl Iterator<Item = String> {
    let chained = |tree: &&TokenTree| match tree {
        TokenTree::Punct(punct) => matches!(punct.as_char(), '.' | '?'),
        TokenTree::Group(group) => group.delimiter() != Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => true,
    };
    let names = after.iter().take_while(chained).filter_map(|tree| match tree {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    });
    names.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "
        pub struct Metrics { opened: IntCounter, errors: IntCounterVec, live: IntGauge, age: [Histogram; 2], never: Gauge }
        impl Metrics {
            fn new(registry: &Registry) -> Self {
                registry.register(Box::new(metrics.never.clone()));
                registry.register(Box::new(metrics.opened.clone()));
                let never = Gauge::new(\"never\", \"set nowhere\");
                Self { opened, errors, live, age, never }
            }
            fn guard(&self) -> Guard { Guard(self.live.clone()) }
            fn text(&self) -> f64 { self.never.get() }
        }
        pub struct Guard(IntGauge);
        impl Drop for Guard { fn drop(&mut self) { self.0.dec(); } }";

    const POOL: &str = "
        async fn open(metrics: &Metrics) {
            metrics.opened.inc();
            tokio::select! { _ = closed() => metrics.age[0].observe(1.0), }
            metrics.errors.with_label_values(&[reason]).inc();
        }
        impl Pool { #[cfg(test)] fn set(metrics: &Metrics) { metrics.never.set(1.0); } }
        #[cfg(test)] mod tests { fn set(metrics: &Metrics) { metrics.never.set(1.0); } }";

    fn verdict(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::parse(path, text).unwrap())
            .collect();
        unchanged(&sources, &fields(&sources))
            .iter()
            .map(|line| line.rsplit(": ").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn registered_and_read_is_not_changed() {
        assert_eq!(
            verdict(&[("engine/metrics.rs", METRICS), ("engine/pool.rs", POOL)]),
            ["never"]
        );
    }

    #[test]
    fn without_its_user_every_one_is_found() {
        assert_eq!(
            verdict(&[("engine/metrics.rs", METRICS)]),
            ["opened", "errors", "age", "never"]
        );
    }

    #[test]
    fn a_field_of_that_name_in_another_component_does_not_count() {
        let metrics = "pub struct Metrics { errors: IntCounter }";
        let user = "fn fail(metrics: &Metrics) { metrics.errors.inc(); }";
        let both = [("engine/metrics.rs", metrics), ("sink/metrics.rs", metrics)];
        assert_eq!(verdict(&[both[0], both[1], ("engine/pool.rs", user)]), ["errors"]);
        assert!(verdict(&[both[0], both[1], ("engine/pool.rs", user), ("sink/file.rs", user)]).is_empty());
        assert!(verdict(&[both[0], ("app.rs", user)]).is_empty());
    }

    #[test]
    fn removing_a_series_is_not_a_change() {
        let metrics = "pub struct Metrics { lag: GaugeVec }";
        let user = "fn gone(m: &Metrics) { let _ = m.lag.remove_label_values(&[name]); }";
        assert_eq!(
            verdict(&[("capture/metrics.rs", metrics), ("capture/stream.rs", user)]),
            ["lag"]
        );
    }
}
