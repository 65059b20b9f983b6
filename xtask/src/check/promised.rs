//! `docs/promises.md` names tests so that they can be pasted: each of them exists.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::{Attribute, Item};
use walkdir::WalkDir;

use crate::cargo;

const PROMISES: &str = "docs/promises.md";
/// The folder of the binary that the tests are in.
const TESTS: &str = "tests/promises";

pub fn check() -> Result<()> {
    let text = std::fs::read_to_string(cargo::root().join(PROMISES)).context(PROMISES)?;
    let named = named(&text);
    ensure!(!named.is_empty(), "{PROMISES} names no test");
    let tests = tests()?;
    let unknown: Vec<_> = named
        .into_iter()
        .filter(|(_, name)| !tests.contains(*name))
        .map(|(line, name)| format!("  {PROMISES}:{line}: {name}: there is no such test in {TESTS}"))
        .collect();
    ensure!(unknown.is_empty(), "\n{}", unknown.join("\n"));
    Ok(())
}

/// What looks like a test's name between backticks, with its line.
fn named(text: &str) -> Vec<(usize, &str)> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let is_name = |code: &&str| code.contains("::") && code.split("::").all(is_part);
    let lines = text.lines().enumerate();
    let codes = lines.flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |code| (number + 1, code)));
    codes.filter(|(_, code)| is_name(code)).collect()
}

/// The full names of all tests, as the test binary lists them.
fn tests() -> Result<BTreeSet<String>> {
    let root = cargo::root().join(TESTS);
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(&root) {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let file = syn::parse_file(&std::fs::read_to_string(path)?)?;
            collect(&file.items, &module(path.strip_prefix(&root)?), &mut names);
        }
    }
    Ok(names)
}

/// The module path of a file, with `::` behind each part.
fn module(file: &Path) -> String {
    let path = file.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts
        .filter(|part| part != "main" && part != "mod")
        .map(|part| format!("{part}::"))
        .collect()
}

fn collect(items: &[Item], prefix: &str, names: &mut BTreeSet<String>) {
    for item in items {
        match item {
            Item::Fn(item) if item.attrs.iter().any(is_test) => {
                names.insert(format!("{prefix}{}", item.sig.ident));
            }
            Item::Mod(module) => {
                let inside = module.content.as_ref().map_or(&[][..], |(_, items)| items);
                collect(inside, &format!("{prefix}{}::", module.ident), names);
            }
            _ => {}
        }
    }
}

fn is_test(attribute: &Attribute) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|last| last.ident == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_backticks_are_found_with_their_line() {
        let text = "# Title\n| a | `scale::of_one`, `fuzz/src` | `agent::Type` |\n| b | `scale::of_none` |\n";
        assert_eq!(named(text), [(2, "scale::of_one"), (3, "scale::of_none")]);
    }

    #[test]
    fn tests_are_named_as_the_binary_lists_them() {
        let text = "#[test] fn one() {} fn helper() {} mod inner { #[tokio::test] async fn two() {} }";
        let mut names = BTreeSet::new();
        collect(
            &syn::parse_file(text).unwrap().items,
            &module(Path::new("remote/tls.rs")),
            &mut names,
        );
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["remote::tls::inner::two", "remote::tls::one"]
        );
        assert_eq!(module(Path::new("main.rs")), "");
    }
}
