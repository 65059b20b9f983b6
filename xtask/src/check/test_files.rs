//! A module's unit tests are in its module `tests`: within the file, or in `tests.rs` or `tests/` in the module's folder.
//!
//! So every check knows tests by the path of their file, and nobody has to look for them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::ItemMod;
use syn::visit::{Visit, visit_item_mod};

use crate::files::{self, Text};
use crate::source;

pub fn check() -> Result<()> {
    let mut found = Vec::new();
    for Text { path, text } in files::texts()? {
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(offences(&path, &text)?);
        }
    }
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

fn offences(file: &Path, text: &str) -> Result<Vec<String>> {
    let parsed = syn::parse_file(text).with_context(|| format!("cannot read {}", file.display()))?;
    let mut found = Found {
        file,
        offences: Vec::new(),
    };
    found.visit_file(&parsed);
    Ok(found.offences)
}

struct Found<'a> {
    file: &'a Path,
    offences: Vec<String>,
}

impl Visit<'_> for Found<'_> {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        let name = &module.ident;
        let is_named = name == "tests";
        let advice = match (source::is_for_tests(&module.attrs), is_named) {
            (true, false) => Some("a module for tests is named `tests`"),
            (true, true) if source::path_attribute(&module.attrs).is_some() => {
                Some("move the file to where `mod tests;` finds it")
            }
            (false, true) => Some("`tests` is for tests: it lacks `#[cfg(test)]`"),
            _ => None,
        };
        if let Some(advice) = advice {
            let (file, line) = (self.file.display(), name.span().start().line);
            self.offences.push(format!("  {file}:{line}: `mod {name}`: {advice}"));
        }
        visit_item_mod(self, module);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Vec<String> {
        offences(Path::new("a.rs"), text).unwrap()
    }

    #[test]
    fn tests_where_they_belong_pass() {
        assert!(verdict("mod pool; #[cfg(test)] mod tests;").is_empty());
        assert!(verdict("#[cfg(test)] mod tests { mod inner { fn f() {} } }").is_empty());
        assert!(verdict("#[cfg(test)] fn f() {} #[path = \"../peer.rs\"] mod peer;").is_empty());
    }

    #[test]
    fn another_name_or_place_is_refused() {
        let expected = ["  a.rs:2: `mod pool_tests`: a module for tests is named `tests`"];
        assert_eq!(verdict("#[cfg(test)]\nmod pool_tests;"), expected);
        assert_eq!(verdict("mod inner { #[cfg(test)] mod test {} }").len(), 1);
        assert_eq!(verdict("#[cfg(test)] #[path = \"pool_tests.rs\"] mod tests;").len(), 1);
    }

    #[test]
    fn what_is_not_for_tests_does_not_hide_behind_the_name() {
        let expected = ["  a.rs:1: `mod tests`: `tests` is for tests: it lacks `#[cfg(test)]`"];
        assert_eq!(verdict("pub mod tests;"), expected);
    }
}
