//! Imports go one way: main → cli and app → {capture, audit, admin} → {source, delivery, kernel} → engine → {decode,
//! encode} → {register, record, escape, config}. `kernel` knows nothing of Docker and `engine` nothing of
//! eBPF: they meet in `audit`, by a socket's inode.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use proc_macro2::{Delimiter, TokenTree};

use crate::source::{self, Source, is_punct, line_of};

/// Each module, and what it may import besides itself. A part that is configured imports `config` for its own section:
/// it turns that into its options.
const MODULES: [(&str, &[&str]); 25] = [
    ("main", &["cli"]),
    // `doctor` makes an engine client for itself, which wants a registry. `run` gives back what reading the arguments took.
    (
        "cli",
        &[
            "app", "admin", "kernel", "source", "engine", "register", "record", "config", "memory", "metrics",
            "version",
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
            "open_files",
            "memory",
        ],
    ),
    // Its pages show what the kernel side holds, what the pool believes, and what stores have refused.
    (
        "admin",
        &[
            "delivery",
            "audit",
            "kernel",
            "engine",
            "register",
            "metrics",
            "readiness",
            "open_files",
            "version",
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
    // A store is reached as the engine is.
    (
        "delivery",
        &[
            "encode",
            "decode",
            "engine",
            "record",
            "config",
            "metrics",
            "readiness",
            "trusted",
        ],
    ),
    ("encode", &["escape", "record", "config"]),
    ("decode", &["escape", "record"]),
    // What is made of the ledger and the register, which know nothing of each other.
    ("audit", &["kernel", "register", "record", "config", "metrics"]),
    ("kernel", &["config", "metrics", "memory"]),
    (
        "engine",
        &["decode", "register", "record", "config", "metrics", "open_files"],
    ),
    ("readiness", &[]),
    ("state", &["trusted", "open_files"]),
    ("open_files", &[]),
    ("memory", &[]),
    ("trusted", &[]),
    ("pace", &[]),
    ("version", &[]),
    ("register", &["record"]),
    ("record", &[]),
    ("escape", &[]),
    ("config", &[]),
    ("metrics", &[]),
    // The map of the modules: it imports none.
    ("lib", &[]),
];

/// A family of crates whose types stay in one place.
struct Foreign {
    /// The start of their names.
    krate: &'static str,
    modules: &'static [&'static str],
    /// Files of this name may use them too, in any module.
    file: Option<&'static str>,
}

const FOREIGN: [Foreign; 4] = [
    Foreign {
        krate: "hyper",
        modules: &["engine", "admin"],
        file: None,
    },
    Foreign {
        krate: "tokio_rustls",
        modules: &["engine"],
        file: None,
    },
    Foreign {
        krate: "aya",
        modules: &["kernel"],
        file: None,
    },
    Foreign {
        krate: "prometheus",
        modules: &["admin"],
        file: Some("metrics.rs"),
    },
];

impl Foreign {
    fn place(&self) -> String {
        let files = self.file.map(|file| format!("files named {file}"));
        let modules = self.modules.iter().map(ToString::to_string);
        modules.chain(files).collect::<Vec<_>>().join(" and ")
    }
}

pub fn check() -> Result<()> {
    let found = Found::in_sources(&source::agent()?);
    let offences = [found.offences.clone(), found.unused()].concat();
    let advice = "turn the dependency round, or change the table in xtask/src/check/layering.rs with a reason";
    ensure!(offences.is_empty(), "{advice}:\n{}", offences.join("\n"));
    Ok(())
}

#[derive(Default)]
struct Found {
    offences: Vec<String>,
    /// Each module, and what it imports: a module, or the start of a crate's name.
    used: BTreeSet<(String, String)>,
}

impl Found {
    fn in_sources(sources: &[Source]) -> Self {
        let mut found = Self::default();
        for source in sources {
            found.look_at(source);
        }
        found
    }

    fn look_at(&mut self, source: &Source) {
        let module = top_module(source);
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
            let path = source.path.display();
            self.offences
                .push(format!("  agent/src/{path}: `{module}` is not in the table"));
            return;
        };
        source::each_level(source.tokens(), &mut |level| {
            for (at, tree) in level.iter().enumerate() {
                for import in imports(source, level, at) {
                    let is_known = MODULES.iter().any(|(name, _)| *name == import);
                    if is_known && import != module && !allowed.contains(&import.as_str()) {
                        self.report(source, tree, &format!("`{module}` imports `{import}`"));
                    }
                    self.used.insert((module.clone(), import));
                }
                let Some(foreign) = foreign(level, at) else { continue };
                let may_file = foreign.file.is_some_and(|file| source.path.ends_with(file));
                if foreign.modules.contains(&module.as_str()) {
                    self.used.insert((module.clone(), foreign.krate.to_owned()));
                } else if !may_file {
                    let offence = format!("`{}` belongs in {}", foreign.krate, foreign.place());
                    self.report(source, tree, &offence);
                }
            }
        });
    }

    fn report(&mut self, source: &Source, tree: &TokenTree, what: &str) {
        let path = source.path.display();
        self.offences
            .push(format!("  agent/src/{path}:{}: {what}", line_of(tree)));
    }

    /// A permission that nothing needs would let the next one in without a question.
    fn unused(&self) -> Vec<String> {
        let modules = MODULES
            .iter()
            .flat_map(|(module, allowed)| allowed.iter().map(move |import| (*module, *import)));
        let foreign = FOREIGN
            .iter()
            .flat_map(|foreign| foreign.modules.iter().map(|module| (*module, foreign.krate)));
        modules
            .chain(foreign)
            .filter(|(module, import)| !self.used.contains(&((*module).to_owned(), (*import).to_owned())))
            .map(|(module, import)| format!("  `{module}` may import `{import}`, and does not: strike it out"))
            .collect()
    }
}

/// `engine/pool.rs` is of `engine`, `app.rs` of `app`.
fn top_module(source: &Source) -> String {
    let first = source.path.iter().next().unwrap_or_default();
    std::path::Path::new(first)
        .with_extension("")
        .to_string_lossy()
        .into_owned()
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

/// A path that starts at `at` with one of the foreign crates.
fn foreign(level: &[TokenTree], at: usize) -> Option<&'static Foreign> {
    let TokenTree::Ident(name) = &level[at] else {
        return None;
    };
    let starts_path = is_punct(level.get(at + 1), ':') && is_punct(level.get(at + 2), ':') && !is_inner(level, at);
    let name = name.to_string();
    let foreign = FOREIGN.iter().find(|foreign| name.starts_with(foreign.krate))?;
    starts_path.then_some(foreign)
}

/// Not the first name of its path.
fn is_inner(level: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_punct(level.get(at - 1), ':') && is_punct(level.get(at - 2), ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(path: &str, text: &str) -> Vec<String> {
        let found = Found::in_sources(&[Source::parse(path, text).unwrap()]);
        found
            .offences
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
        assert!(verdict("main.rs", "use log_capturer::{cli};").is_empty());
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
            ["`prometheus` belongs in admin and files named metrics.rs"]
        );
        assert!(verdict("engine/metrics.rs", "use prometheus::IntGauge;").is_empty());
    }

    #[test]
    fn a_permission_that_nothing_uses_is_found() {
        let kernel = |text| Found::in_sources(&[Source::parse("kernel/ledger.rs", text).unwrap()]).unused();
        let unused = "  `kernel` may import `aya`, and does not: strike it out".to_owned();
        assert!(kernel("use crate::config::Kernel;").contains(&unused));
        assert!(!kernel("use aya::Ebpf;").contains(&unused));
        // What only tests import does not need it.
        assert!(kernel("#[cfg(test)] mod tests { use aya::Ebpf; }").contains(&unused));
        let unused = "  `engine` may import `register`, and does not: strike it out".to_owned();
        let engine = |text| Found::in_sources(&[Source::parse("engine/link.rs", text).unwrap()]).unused();
        assert!(engine("").contains(&unused));
        assert!(!engine("use crate::{record::Id, register::Entry};").contains(&unused));
    }
}
