//! The project's source, as the checks read it: tokens, without what is compiled for tests only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, File, ImplItem, Item};
use walkdir::WalkDir;

use crate::cargo;

pub struct Source {
    /// Below `agent/src`.
    pub path: PathBuf,
    pub file: File,
}

/// Reads `agent/src`.
pub fn agent() -> Result<Vec<Source>> {
    let root = cargo::root().join("agent/src");
    let mut sources = Vec::new();
    for entry in WalkDir::new(&root).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(&root)?;
        if path.extension().is_some_and(|extension| extension == "rs") && !is_tests(path) {
            let text = std::fs::read_to_string(entry.path())?;
            sources.push(Source::parse(path, &text)?);
        }
    }
    ensure!(!sources.is_empty(), "no source in {}", root.display());
    Ok(sources)
}

/// `mod tests;` is a file or a directory of its own in some places: `test_files.rs` sees to it that others are not.
fn is_tests(path: &Path) -> bool {
    path.with_extension("").iter().any(|part| part == "tests")
}

impl Source {
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let mut file = syn::parse_file(text).with_context(|| format!("cannot read {}", path.display()))?;
        drop_tests(&mut file.items);
        Ok(Self { path, file })
    }

    /// Tokens rather than a syntax tree: they go into macros too, and `select!` holds much of an
    /// asynchronous program.
    pub fn tokens(&self) -> TokenStream {
        self.file.to_token_stream()
    }

    /// The module path: `engine/pool.rs` is `engine`, `pool`; `lib.rs` and `main.rs` are the root.
    pub fn module(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        parts
    }
}

fn drop_tests(items: &mut Vec<Item>) {
    items.retain(|item| !is_for_tests(attributes(item)));
    for item in items {
        match item {
            Item::Mod(module) => {
                if let Some((_, items)) = &mut module.content {
                    drop_tests(items);
                }
            }
            Item::Impl(block) => block.items.retain(|item| !is_for_tests(attributes_within(item))),
            _ => {}
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn attributes_within(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether `#[cfg(test)]` is among them.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(is_cfg_test)
}

/// From `#[path = "..."]`.
pub fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    match &attribute.meta.require_name_value().ok()?.value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(path),
            ..
        }) => Some(path.value()),
        _ => None,
    }
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Ident>()
            .is_ok_and(|argument| argument == "test")
}

/// Calls `visit` with the tokens of each nesting level, outermost first.
pub fn each_level(tokens: TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = tokens.into_iter().collect();
    visit(&level);
    for tree in level {
        if let TokenTree::Group(group) = tree {
            each_level(group.stream(), visit);
        }
    }
}

pub fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

pub fn line_of(tree: &TokenTree) -> usize {
    tree.span().start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_left_out() {
        for gone in [
            "#[cfg(test)] mod tests { fn gone() {} }",
            "mod inner { #[cfg(test)] const gone: u8 = 0; }",
            "impl Pool { #[cfg(test)] fn gone() {} }",
        ] {
            let source = Source::parse("engine/pool.rs", &format!("fn kept() {{}} {gone}")).unwrap();
            let text = source.tokens().to_string();
            assert!(text.contains("kept") && !text.contains("gone"), "{text}");
        }
        assert!(is_tests(Path::new("engine/tests/pool.rs")) && is_tests(Path::new("engine/tests.rs")));
        assert!(!is_tests(Path::new("engine/contests.rs")));
    }

    #[test]
    fn a_file_is_a_module() {
        let module = |path: &str| Source::parse(path, "").unwrap().module().join("::");
        assert_eq!(module("engine/pool.rs"), "engine::pool");
        assert_eq!(module("engine/mod.rs"), "engine");
        assert_eq!(module("main.rs"), "");
    }
}
