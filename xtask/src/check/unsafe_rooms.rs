//! Unsafe code stays in a few rooms. The lint refuses it everywhere, and a file that needs it says
//! why, by `#![expect(unsafe_code, reason = "…")]`. This holds such files to a list.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};

use crate::files::{self, Text};
use crate::source::{each_level, line_of};

/// Files, and folders with all that is in them.
const ROOMS: [&str; 8] = [
    "agent-ebpf",
    "agent/src/kernel",
    // The allocator and the pages of the program have no safe interface.
    "agent/src/memory.rs",
    // A leaked connection is ended by its number, as nothing owns it.
    "agent/src/audit/watch.rs",
    // tokio polls a descriptor that it cannot know to be open.
    "agent/src/source/files/watcher.rs",
    // A thread of its own has mounts of its own.
    "agent/tests/disks",
    "agent/tests/kernel",
    // The clocks of other processes have no safe interface.
    "bench/src/process.rs",
];

const LINT: &str = "unsafe_code";

pub fn check() -> Result<()> {
    let is_rust = |text: &Text| text.path.extension().is_some_and(|extension| extension == "rs");
    let mut sources = files::texts()?;
    sources.retain(is_rust);
    let found = offences(&sources)?;
    let advice = "move it to a room that has unsafe code, or change the list in xtask/src/check/unsafe_rooms.rs";
    ensure!(found.is_empty(), "{advice}:\n{}", found.join("\n"));
    Ok(())
}

fn offences(sources: &[Text]) -> Result<Vec<String>> {
    let mut offences = Vec::new();
    let mut used = [false; ROOMS.len()];
    for Text { path, text } in sources {
        let tokens: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| anyhow::anyhow!("{error}"))
            .with_context(|| format!("cannot read {}", path.display()))?;
        each_level(tokens, &mut |level| {
            for tree in level.iter().filter(|tree| is_lint(tree)) {
                match room_of(path) {
                    Some(room) => used[room] = true,
                    None => offences.push(format!("  {}:{}: `{LINT}`", path.display(), line_of(tree))),
                }
            }
        });
    }
    let unused = ROOMS.iter().zip(used).filter(|(_, used)| !used);
    offences.extend(unused.map(|(room, _)| format!("  {room} has no unsafe code: strike it out")));
    Ok(offences)
}

fn is_lint(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Ident(name) if name == LINT)
}

fn room_of(path: &Path) -> Option<usize> {
    ROOMS.iter().position(|room| path.starts_with(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTS: &str = "#![expect(unsafe_code, reason = \"for a test\")]";

    fn source(path: &str, text: &str) -> Text {
        Text {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    /// A file in each room that has unsafe code.
    fn rooms() -> Vec<Text> {
        ROOMS.map(|room| source(room, EXPECTS)).into()
    }

    #[test]
    fn unsafe_code_in_its_rooms_passes() {
        let mut sources = rooms();
        sources.push(source("agent/src/kernel/mapped.rs", EXPECTS));
        sources.push(source("agent/src/pace.rs", "/// No unsafe_code here.\nfn f() {}"));
        assert_eq!(offences(&sources).unwrap(), [""; 0]);
    }

    #[test]
    fn unsafe_code_elsewhere_is_refused() {
        let mut sources = rooms();
        let inside = "mod m {\n    #[allow(unsafe_code)]\n    fn f() {}\n}";
        sources.push(source("agent/src/engine/link.rs", inside));
        sources.push(source("agent/src/kernelish.rs", EXPECTS));
        assert_eq!(
            offences(&sources).unwrap(),
            [
                "  agent/src/engine/link.rs:2: `unsafe_code`",
                "  agent/src/kernelish.rs:1: `unsafe_code`"
            ]
        );
    }

    #[test]
    fn a_room_without_unsafe_code_is_struck_out() {
        let mut sources = rooms();
        sources.pop();
        let expected = format!("  {} has no unsafe code: strike it out", ROOMS[ROOMS.len() - 1]);
        assert_eq!(offences(&sources).unwrap(), [expected]);
    }
}
