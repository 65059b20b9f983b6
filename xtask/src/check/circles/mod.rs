//! Files do not use each other in a circle: who reads one of them would have to read them all first.
//!
//! It is looked at in every room by itself. A room is a module with what is behind it, which is its children; each child
//! counts as one, with all that is behind it in turn. So two folders must not use each other either, even where no two
//! of their files do.
//!
//! - What counts is the file that defines a name, however it was come by. `super::X` that the parent passes on from a
//!   sibling is a use of the sibling.
//! - A parent (`mod.rs`, `lib.rs`, or `name.rs` beside a folder `name`) may pass on with `pub use` what is defined behind
//!   it. That is not a use, for it is the room's front: the code of the parent does not need the name.
//! - But if the parent itself uses a child, the child must not use what the parent defines. They are two files, and there
//!   is nothing about the name `mod.rs` that would make a circle easier to read.
//! - What is compiled for tests only is not looked at: tests of a file use it by their nature.
//! - Methods are not looked at, only names. Where a method's type is nowhere named, no circle is seen.

mod graph;
mod modules;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use self::graph::Graph;
use self::modules::{Crate, Id, Target};
use crate::cargo;

pub fn check() -> Result<()> {
    // Two crates may share a file, and so a circle.
    let mut found = BTreeSet::new();
    for root in cargo::crate_roots()? {
        let krate = Crate::read(&root, &|path| std::fs::read_to_string(cargo::root().join(path)).ok())?;
        found.extend(circles(&krate));
    }
    let found: Vec<String> = found.into_iter().collect();
    let advice = "move what both sides need to a file that needs neither";
    ensure!(found.is_empty(), "{advice}:\n{}", found.join("\n"));
    Ok(())
}

/// A file's module names something that another's defines.
struct Use<'a> {
    from: Id,
    to: Id,
    path: &'a [String],
    line: usize,
}

fn circles(krate: &Crate) -> Vec<String> {
    let uses = uses(krate);
    let mut rooms: BTreeMap<Id, Graph<Id, &Use<'_>>> = BTreeMap::new();
    for used in &uses {
        let (from, to) = (krate.lineage(used.from), krate.lineage(used.to));
        let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
        let room = from[shared - 1];
        // The room's own file counts beside those behind it.
        let inside = |lineage: &[Id]| lineage.get(shared).copied().unwrap_or(room);
        let graph = rooms.entry(room).or_insert_with(Graph::new);
        graph.add(inside(&from), inside(&to), used);
    }
    let circles = rooms.values().flat_map(Graph::circles);
    circles.map(|circle| describe(krate, &circle)).collect()
}

/// All that count.
fn uses(krate: &Crate) -> Vec<Use<'_>> {
    let mut uses = Vec::new();
    for (from, module) in krate.modules.iter().enumerate() {
        let mut add = |path, line, is_passed_on| {
            let Some(Target::Item(to)) = krate.resolve(from, path) else {
                return;
            };
            let (from, to) = (krate.whole_file(from), krate.whole_file(to));
            let is_behind = krate.lineage(to).contains(&from);
            if from != to && !(is_passed_on && is_behind) {
                uses.push(Use { from, to, path, line });
            }
        };
        for import in &module.names.imports {
            add(&import.path, import.line, import.is_public);
        }
        for mention in &module.names.mentions {
            add(&mention.path, mention.line, false);
        }
    }
    uses
}

fn describe(krate: &Crate, circle: &[(Id, Id, &Use<'_>)]) -> String {
    let names: Vec<String> = circle.iter().map(|(from, _, _)| krate.path_of(*from)).collect();
    let mut lines = vec![format!("  {} → {}", names.join(" → "), names[0])];
    for (_, _, used) in circle {
        let [from, to] = [used.from, used.to].map(|module| krate.modules[module].file.display());
        lines.push(format!(
            "    {from}:{}: `{}` is from {to}",
            used.line,
            used.path.join("::")
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
