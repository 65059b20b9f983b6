//! Imports go one way: main → cli and app → {capture, audit, admin} → {source, delivery, kernel} → engine → {decode,
//! encode} → {register, record, config}. `kernel` knows nothing of Docker and `engine` nothing of eBPF: they meet in
//! `audit`, by a socket's inode.

use anyhow::{Result, ensure};
use proc_macro2::{Delimiter, TokenTree};

use super::source::{self, Source, is_punct, line_of};

/// Each module, and what it may import besides itself.
const MODULES: [(&str, &[&str]); 20] = [
    ("main", &["app", "cli", "config"]),
    // `doctor` makes an engine client for itself, which wants a registry.
    (
        "cli",
        &[
            "app", "admin", "kernel", "engine", "register", "record", "config", "metrics",
        ],
    ),
    (
        "app",
        &[
            "capture",
            "delivery",
            "encode",
            "audit",
            "kernel",
            "admin",
            "source",
            "engine",
            "register",
            "record",
            "config",
            "metrics",
            "readiness",
            "pace",
            "state",
        ],
    ),
    // Its pages show what the kernel side holds, and what the pool believes.
    (
        "admin",
        &[
            "audit",
            "kernel",
            "engine",
            "register",
            "config",
            "metrics",
            "readiness",
        ],
    ),
    // Hands its records to delivery's queue, and hears of their acknowledgement. A checkpoint keeps how far a sink's file
    // was written, and reads on from there.
    (
        "capture",
        &[
            "delivery",
            "encode",
            "source",
            "engine",
            "register",
            "record",
            "config",
            "metrics",
            "readiness",
            "pace",
            "state",
        ],
    ),
    ("source", &["decode", "engine", "register", "record"]),
    ("delivery", &["encode", "record", "metrics", "readiness"]),
    ("encode", &["record", "config"]),
    ("decode", &["record"]),
    // What is made of the ledger and the register, which know nothing of each other.
    ("audit", &["kernel", "register", "record", "metrics"]),
    ("kernel", &["metrics"]),
    ("engine", &["decode", "register", "record", "config", "metrics"]),
    ("readiness", &[]),
    ("state", &[]),
    ("pace", &[]),
    ("register", &["record"]),
    ("record", &[]),
    ("config", &["record"]),
    ("metrics", &[]),
    // The map of the modules: it imports none.
    ("lib", &[]),
];

/// A family of crates whose types stay in one place: the start of their names, the place, and is this it.
type Foreign = (&'static str, &'static str, fn(&Source) -> bool);

const FOREIGN: [Foreign; 4] = [
    ("hyper", "engine and admin", |source| {
        in_module(source, &["engine", "admin"])
    }),
    ("tokio_rustls", "engine", |source| in_module(source, &["engine"])),
    ("aya", "kernel", |source| in_module(source, &["kernel"])),
    ("prometheus", "metrics.rs files and admin", |source| {
        source.path.ends_with("metrics.rs") || in_module(source, &["admin"])
    }),
];

pub fn check() -> Result<()> {
    let offences: Vec<String> = source::agent()?.iter().flat_map(offences).collect();
    let advice = "turn the dependency round, or change the table in xtask/src/check/layering.rs with a reason";
    ensure!(offences.is_empty(), "{advice}:\n{}", offences.join("\n"));
    Ok(())
}

fn offences(source: &Source) -> Vec<String> {
    let module = top_module(source);
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "  agent/src/{}: `{module}` is not in the table",
            source.path.display()
        )];
    };
    let mut offences = Vec::new();
    let mut report = |tree: &TokenTree, what: String| {
        offences.push(format!(
            "  agent/src/{}:{}: {what}",
            source.path.display(),
            line_of(tree)
        ));
    };
    source::each_level(source.tokens(), &mut |level| {
        for (at, tree) in level.iter().enumerate() {
            for import in imports(source, level, at) {
                let known = MODULES.iter().any(|(name, _)| *name == import);
                if known && import != module && !allowed.contains(&import.as_str()) {
                    report(tree, format!("`{module}` imports `{import}`"));
                }
            }
            if let Some((krate, place)) = foreign(source, level, at) {
                report(tree, format!("`{krate}` belongs in {place}"));
            }
        }
    });
    offences
}

/// `engine/pool.rs` is of `engine`, `app.rs` of `app`.
fn top_module(source: &Source) -> String {
    let first = source.path.iter().next().unwrap_or_default();
    std::path::Path::new(first)
        .with_extension("")
        .to_string_lossy()
        .into_owned()
}

fn in_module(source: &Source, modules: &[&str]) -> bool {
    modules.contains(&top_module(source).as_str())
}

/// The top modules that a path starting at `at` goes to: `crate::a`, `crate::{a, b::c}`, and as many
/// `super::` as lead up to the crate.
fn imports(source: &Source, level: &[TokenTree], at: usize) -> Vec<String> {
    if is_inner(level, at) {
        return Vec::new();
    }
    let TokenTree::Ident(name) = &level[at] else {
        return Vec::new();
    };
    let mut rest = &level[at + 1..];
    if name == "super" {
        let mut supers = 1;
        while let [a, b, TokenTree::Ident(next), tail @ ..] = rest
            && is_punct(Some(a), ':')
            && is_punct(Some(b), ':')
            && next == "super"
        {
            supers += 1;
            rest = tail;
        }
        if supers < source.module().len() {
            return Vec::new();
        }
    } else if name != "crate" && name != "log_capturer" {
        return Vec::new();
    }
    match rest {
        [a, b, TokenTree::Ident(module), ..] if is_punct(Some(a), ':') && is_punct(Some(b), ':') => {
            vec![module.to_string()]
        }
        [a, b, TokenTree::Group(group), ..]
            if is_punct(Some(a), ':') && is_punct(Some(b), ':') && group.delimiter() == Delimiter::Brace =>
        {
            first_names(group)
        }
        _ => Vec::new(),
    }
}

/// The first name of each branch of `{a::b, c::{d, e}}`.
fn first_names(group: &proc_macro2::Group) -> Vec<String> {
    let trees: Vec<TokenTree> = group.stream().into_iter().collect();
    let starts = (0..trees.len()).filter(|at| *at == 0 || is_punct(trees.get(at - 1), ','));
    starts.map(|at| trees[at].to_string()).collect()
}

/// A path that starts at `at` with one of the foreign crates, out of its place.
fn foreign(source: &Source, level: &[TokenTree], at: usize) -> Option<(&'static str, &'static str)> {
    let TokenTree::Ident(name) = &level[at] else {
        return None;
    };
    let starts_path = is_punct(level.get(at + 1), ':') && is_punct(level.get(at + 2), ':') && !is_inner(level, at);
    let name = name.to_string();
    let (krate, place, is_its_place) = FOREIGN.iter().find(|(krate, _, _)| name.starts_with(krate))?;
    (starts_path && !is_its_place(source)).then_some((*krate, *place))
}

/// Not the first name of its path.
fn is_inner(level: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_punct(level.get(at - 1), ':') && is_punct(level.get(at - 2), ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(path: &str, text: &str) -> Vec<String> {
        let lines = offences(&Source::parse(path, text).unwrap());
        lines
            .iter()
            .map(|line| line.split(':').nth(2).unwrap_or(line).trim().to_owned())
            .collect()
    }

    #[test]
    fn downward_is_fine() {
        assert!(
            verdict(
                "engine/pool.rs",
                "use crate::register::Register; use super::connection::Connection;"
            )
            .is_empty()
        );
        assert!(
            verdict(
                "capture/stream.rs",
                "use crate::{engine::Api, record::{LogRecord, Stream}};"
            )
            .is_empty()
        );
        assert!(verdict("main.rs", "use log_capturer::{app, cli};").is_empty());
    }

    #[test]
    fn upward_and_sideways_are_found_however_they_are_written() {
        assert_eq!(
            verdict("kernel/ledger.rs", "use crate::engine::Pool;"),
            ["`kernel` imports `engine`"]
        );
        assert_eq!(
            verdict("engine/pool.rs", "use crate::{record::Id, kernel::Ledger};"),
            ["`engine` imports `kernel`"]
        );
        assert_eq!(
            verdict("engine/pool.rs", "fn f() { crate::kernel::load(); }"),
            ["`engine` imports `kernel`"]
        );
        assert_eq!(
            verdict("engine/pool.rs", "use super::super::kernel::Ledger;"),
            ["`engine` imports `kernel`"]
        );
        assert_eq!(
            verdict("record.rs", "use super::config::Config;"),
            ["`record` imports `config`"]
        );
        assert_eq!(
            verdict(
                "encode/json.rs",
                "async fn f() { select! { _ = crate::delivery::wait() => {} } }"
            ),
            ["`encode` imports `delivery`"]
        );
    }

    #[test]
    fn a_module_that_nobody_placed_is_found() {
        assert!(verdict("helpers.rs", "")[0].contains("not in the table"));
    }

    #[test]
    fn foreign_types_stay_in_their_place() {
        assert!(
            verdict(
                "engine/connection.rs",
                "use hyper::client::conn::http1; use hyper_util::rt::TokioIo;"
            )
            .is_empty()
        );
        assert_eq!(
            verdict("capture/stream.rs", "use hyper::body::Bytes;"),
            ["`hyper` belongs in engine and admin"]
        );
        assert_eq!(
            verdict("app.rs", "fn f(_: aya_log::EbpfLogger) {}"),
            ["`aya` belongs in kernel"]
        );
        assert_eq!(
            verdict("engine/pool.rs", "use prometheus::IntGauge;"),
            ["`prometheus` belongs in metrics.rs files and admin"]
        );
        assert!(verdict("engine/metrics.rs", "use prometheus::IntGauge;").is_empty());
    }
}
