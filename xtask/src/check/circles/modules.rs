//! The modules of a crate, as its files declare them, and which file defines what a name stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use quote::ToTokens;
use syn::Item;

use super::paths::Names;
use crate::source;

/// A module's place in [`Crate::modules`].
pub type Id = usize;

pub struct Crate {
    /// Parents come before their children; the crate's root is the first.
    pub modules: Vec<Module>,
}

pub struct Module {
    pub name: String,
    pub file: PathBuf,
    pub parent: Option<Id>,
    pub children: BTreeMap<String, Id>,
    /// What it defines itself: its modules and imports are not among it.
    items: BTreeSet<String>,
    pub names: Names,
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Module(Id),
    /// Something that this module defines.
    Item(Id),
}

/// Gives a file's text, or nothing if there is no such file.
pub type Reader<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Crate {
    /// Reads the crate with this root file, without what is for its tests only.
    pub fn read(root: &Path, reader: Reader<'_>) -> Result<Self> {
        let mut krate = Self { modules: Vec::new() };
        let directory = root.parent().context("a file has a directory")?;
        krate.add_file("", root, directory, None, reader)?;
        Ok(krate)
    }

    /// `directory` is where the files of its children are.
    fn add_file(
        &mut self,
        name: &str,
        file: &Path,
        directory: &Path,
        parent: Option<Id>,
        reader: Reader<'_>,
    ) -> Result<Id> {
        let text = reader(file).with_context(|| format!("cannot read {}", file.display()))?;
        let source = source::Source::parse(file, &text)?;
        self.add(name, file, directory, parent, &source.file.items, reader)
    }

    fn add(
        &mut self,
        name: &str,
        file: &Path,
        directory: &Path,
        parent: Option<Id>,
        items: &[Item],
        reader: Reader<'_>,
    ) -> Result<Id> {
        let id = self.modules.len();
        self.modules.push(Module {
            name: name.to_owned(),
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            names: Names::default(),
        });
        for item in items {
            if let Item::Mod(module) = item {
                let name = module.ident.to_string();
                let child = self.add_child(id, &name, module, directory, reader)?;
                self.modules[id].children.insert(name, child);
            } else {
                let module = &mut self.modules[id];
                module.items.extend(defined(item));
                module.names.read(item.to_token_stream());
            }
        }
        Ok(id)
    }

    fn add_child(
        &mut self,
        parent: Id,
        name: &str,
        module: &syn::ItemMod,
        directory: &Path,
        reader: Reader<'_>,
    ) -> Result<Id> {
        let file = self.modules[parent].file.clone();
        let below = directory.join(name);
        if let Some((_, items)) = &module.content {
            return self.add(name, &file, &below, Some(parent), items, reader);
        }
        if let Some(path) = source::path_attribute(&module.attrs) {
            let file = file.parent().unwrap_or(directory).join(path);
            let directory = file.parent().unwrap_or(directory).to_owned();
            return self.add_file(name, &file, &directory, Some(parent), reader);
        }
        for file in [below.with_extension("rs"), below.join("mod.rs")] {
            if reader(&file).is_some() {
                return self.add_file(name, &file, &below, Some(parent), reader);
            }
        }
        bail!("{} declares `mod {name}`, which has no file", file.display());
    }

    /// Where a path leads that is written in `from`. Another crate's leads nowhere.
    pub fn resolve(&self, from: Id, path: &[String]) -> Option<Target> {
        self.resolve_unseen(from, path, &mut BTreeSet::new())
    }

    /// `seen` are the names that are being looked up: an import may lead to itself, as `use serde::serde` does.
    fn resolve_unseen(&self, from: Id, path: &[String], seen: &mut BTreeSet<(Id, String)>) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.look_up(from, name, seen)?,
        };
        while let (Target::Module(module), Some((name, tail))) = (target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(self.modules[module].parent?),
                // What a macro has made there is not seen: it can only be that file's.
                name => self.look_up(module, name, seen).unwrap_or(Target::Item(module)),
            };
            rest = tail;
        }
        Some(target)
    }

    /// What a name stands for inside of a module.
    fn look_up(&self, module: Id, name: &str, seen: &mut BTreeSet<(Id, String)>) -> Option<Target> {
        let Module {
            children, items, names, ..
        } = &self.modules[module];
        if let Some(&child) = children.get(name) {
            return Some(Target::Module(child));
        }
        if items.contains(name) {
            return Some(Target::Item(module));
        }
        if !seen.insert((module, name.to_owned())) {
            return None;
        }
        let import = names.imports.iter().find(|import| import.name == name);
        let found = match import {
            Some(import) => self.resolve_unseen(module, &import.path, seen),
            None => names.globs.iter().find_map(|glob| {
                match self.resolve_unseen(module, glob, seen)? {
                    Target::Module(other) => self.look_up(other, name, seen),
                    // The variants of an enumeration.
                    Target::Item(_) => None,
                }
            }),
        };
        seen.remove(&(module, name.to_owned()));
        found
    }

    /// `a::b`, for messages; the root is `crate`.
    pub fn path_of(&self, module: Id) -> String {
        let module = &self.modules[module];
        match module.parent {
            None => "crate".to_owned(),
            Some(0) => module.name.clone(),
            Some(parent) => format!("{}::{}", self.path_of(parent), module.name),
        }
    }

    /// The module that is the whole of a module's file: a module may be written within another's.
    pub fn whole_file(&self, module: Id) -> Id {
        match self.modules[module].parent {
            Some(parent) if self.modules[parent].file == self.modules[module].file => self.whole_file(parent),
            _ => module,
        }
    }

    /// The files' modules from the crate's root down to this one's.
    pub fn lineage(&self, module: Id) -> Vec<Id> {
        let file = self.whole_file(module);
        let mut lineage = self.modules[file]
            .parent
            .map_or_else(Vec::new, |parent| self.lineage(parent));
        lineage.push(file);
        lineage
    }
}

/// The names that an item defines.
fn defined(item: &Item) -> Vec<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => return item.ident.iter().map(ToString::to_string).collect(),
        Item::ForeignMod(block) => return block.items.iter().filter_map(foreign).collect(),
        _ => return Vec::new(),
    };
    vec![ident.to_string()]
}

fn foreign(item: &syn::ForeignItem) -> Option<String> {
    match item {
        syn::ForeignItem::Fn(item) => Some(item.sig.ident.to_string()),
        syn::ForeignItem::Static(item) => Some(item.ident.to_string()),
        syn::ForeignItem::Type(item) => Some(item.ident.to_string()),
        _ => None,
    }
}
