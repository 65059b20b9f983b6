//! The types of the configuration, read from `agent/src/config`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use syn::{Fields, Item, ItemEnum, ItemStruct, Type};

use super::attributes::{doc, serde};
use crate::source::Source;

/// Every struct and enum of the configuration, by name.
pub struct Types {
    pub(super) structs: BTreeMap<String, ItemStruct>,
    pub(super) enums: BTreeMap<String, ItemEnum>,
}

/// What can be written in a configuration.
pub struct Tree {
    /// In the order of the code.
    pub leaves: Vec<Leaf>,
    /// What the items of lists have in them.
    pub shapes: Vec<Shape>,
}

/// A key that has a value.
pub struct Leaf {
    /// With dots.
    pub key: String,
    /// What can be written there, in words.
    pub kind: String,
}

pub struct Shape {
    pub name: String,
    pub about: String,
    pub fields: Vec<Field>,
}

#[derive(PartialEq)]
pub struct Field {
    pub name: String,
    pub kind: String,
    pub about: String,
}

impl Types {
    pub fn of(sources: &[Source]) -> Self {
        let (mut structs, mut enums) = (BTreeMap::new(), BTreeMap::new());
        let sources = sources.iter().filter(|source| source.path.starts_with("config"));
        for item in sources.flat_map(|source| &source.file.items) {
            match item {
                Item::Struct(item) => drop(structs.insert(item.ident.to_string(), item.clone())),
                Item::Enum(item) => drop(enums.insert(item.ident.to_string(), item.clone())),
                _ => {}
            }
        }
        Self { structs, enums }
    }

    /// Everything below the struct `root`.
    pub fn tree(&self, root: &str) -> Result<Tree> {
        let mut leaves = Vec::new();
        let mut named = Vec::new();
        self.walk(root, "", &mut leaves, &mut named)?;
        let mut shapes = Vec::new();
        while let Some(name) = named.get(shapes.len()).cloned() {
            shapes.push(self.shape(&name, &mut named)?);
        }
        Ok(Tree { leaves, shapes })
    }

    fn walk(&self, name: &str, prefix: &str, leaves: &mut Vec<Leaf>, named: &mut Vec<String>) -> Result<()> {
        let item = self.structs.get(name).with_context(|| format!("no struct {name}"))?;
        for field in &item.fields {
            let key = format!("{prefix}{}", field_name(field)?);
            match last_of(&field.ty) {
                Some((inner, _)) if self.structs.contains_key(&inner) => {
                    self.walk(&inner, &format!("{key}."), leaves, named)?;
                }
                _ => {
                    let kind = self.kind(&field.ty, named).with_context(|| key.clone())?;
                    leaves.push(Leaf { key, kind });
                }
            }
        }
        Ok(())
    }

    /// A type in words; the shapes that these name are added to `named`.
    fn kind(&self, ty: &Type, named: &mut Vec<String>) -> Result<String> {
        let (name, inner) = last_of(ty).context("not the name of a type")?;
        Ok(match (name.as_str(), inner) {
            ("Duration", _) => "duration".to_owned(),
            ("ByteSize", _) => "size".to_owned(),
            ("String", _) => "text".to_owned(),
            ("PathBuf", _) => "path".to_owned(),
            ("SocketAddr", _) => "address and port".to_owned(),
            ("bool", _) => "`true` or `false`, also `on` or `off`".to_owned(),
            ("u8" | "u16" | "u32" | "u64" | "usize", _) => "integer".to_owned(),
            ("NonZeroU32" | "NonZeroU64" | "NonZeroUsize", _) => "integer, at least 1".to_owned(),
            ("f64", _) => "number".to_owned(),
            ("Option", Some(inner)) => self.kind(inner, named)?,
            ("Vec", Some(inner)) => format!("list of {}", self.kind(inner, named)?),
            (name, _) if self.enums.get(name).is_some_and(is_choice) => choices(&self.enums[name])?,
            (name, _) if self.enums.get(name).is_some_and(is_text) => self.alternatives(name, named)?,
            (name, _) if self.structs.contains_key(name) || self.enums.contains_key(name) => {
                if !named.iter().any(|known| known == name) {
                    named.push(name.to_owned());
                }
                format!("[`{name}`](#{})", name.to_lowercase())
            }
            _ => bail!("`{name}` has no words yet: xtask/src/docs/types.rs gives a type its words"),
        })
    }

    /// The words and the kinds of value that an enum takes which is written as one text.
    fn alternatives(&self, name: &str, named: &mut Vec<String>) -> Result<String> {
        let mut found = Vec::new();
        for variant in &self.enums[name].variants {
            found.push(match variant.fields.iter().next() {
                None => format!("`{}`", snake(&variant.ident.to_string())),
                Some(field) => self.kind(&field.ty, named)?,
            });
        }
        one_of(&found)
    }

    fn shape(&self, name: &str, named: &mut Vec<String>) -> Result<Shape> {
        let mut fields = Vec::new();
        let about = if let Some(item) = self.structs.get(name) {
            self.fields(&item.fields, &mut fields, named)?;
            doc(&item.attrs)
        } else {
            let item = self.enums.get(name).with_context(|| format!("no type {name}"))?;
            let tag = serde(&item.attrs, "tag").with_context(|| format!("{name} has no tag"))?;
            let variants = variants(item)?;
            fields.push(Field {
                name: tag.clone(),
                kind: choices(item)?,
                about: "Which of them it is.".to_owned(),
            });
            let mut of_each = Vec::new();
            for variant in &item.variants {
                let mut own = Vec::new();
                self.fields(&variant.fields, &mut own, named)?;
                of_each.push(own);
            }
            let (common, others) = in_all(of_each);
            fields.extend(common);
            for (own, written) in others.into_iter().zip(variants) {
                fields.extend(own.into_iter().map(|field| Field {
                    about: format!("With `{tag}: {written}`. {}", field.about),
                    ..field
                }));
            }
            doc(&item.attrs)
        };
        Ok(Shape {
            name: name.to_owned(),
            about,
            fields,
        })
    }

    fn fields(&self, of: &Fields, fields: &mut Vec<Field>, named: &mut Vec<String>) -> Result<()> {
        for field in of {
            let name = field_name(field)?;
            let about = doc(&field.attrs);
            ensure!(!about.is_empty(), "{name} has no doc comment");
            fields.push(Field {
                kind: self.kind(&field.ty, named)?,
                about,
                name,
            });
        }
        Ok(())
    }
}

/// The fields that all of these have, and what each has beside them.
fn in_all(of_each: Vec<Vec<Field>>) -> (Vec<Field>, Vec<Vec<Field>>) {
    let mut others = of_each;
    let mut common = Vec::new();
    let mut at = 0;
    while let Some(field) = others.first().and_then(|first| first.get(at)) {
        if others.len() > 1 && others.iter().all(|own| own.contains(field)) {
            let field = others[0].remove(at);
            for own in &mut others[1..] {
                own.retain(|other| *other != field);
            }
            common.push(field);
        } else {
            at += 1;
        }
    }
    (common, others)
}

pub(super) fn field_name(field: &syn::Field) -> Result<String> {
    let ident = field.ident.as_ref().context("a field without a name")?;
    Ok(serde(&field.attrs, "rename").unwrap_or_else(|| ident.to_string()))
}

/// The last part of a type's path, and what is between its angle brackets.
pub(super) fn last_of(ty: &Type) -> Option<(String, Option<&Type>)> {
    let Type::Path(path) = ty else {
        return None;
    };
    let last = path.path.segments.last()?;
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(inner) => inner.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(ty) => Some(ty),
            _ => None,
        }),
        _ => None,
    };
    Some((last.ident.to_string(), inner))
}

/// An enum of names alone.
pub(super) fn is_choice(item: &ItemEnum) -> bool {
    item.variants
        .iter()
        .all(|variant| matches!(variant.fields, Fields::Unit))
}

fn choices(item: &ItemEnum) -> Result<String> {
    let names: Vec<_> = variants(item)?.into_iter().map(|name| format!("`{name}`")).collect();
    one_of(&names)
}

fn one_of(all: &[String]) -> Result<String> {
    let (last, others) = all.split_last().context("an enum of nothing")?;
    Ok(match others {
        [] => last.clone(),
        others => format!("{} or {last}", others.join(", ")),
    })
}

/// An enum that is made of a text, in a way of its own.
pub(super) fn is_text(item: &ItemEnum) -> bool {
    serde(&item.attrs, "try_from").as_deref() == Some("String")
}

/// The variants as they are written in a configuration.
pub(super) fn variants(item: &ItemEnum) -> Result<Vec<String>> {
    let case = serde(&item.attrs, "rename_all");
    let name = |variant: &syn::Variant| {
        let ident = variant.ident.to_string();
        Ok(match (serde(&variant.attrs, "rename"), case.as_deref()) {
            (Some(name), _) => name,
            (None, Some("lowercase")) => ident.to_lowercase(),
            (None, Some("snake_case")) => snake(&ident),
            (None, case) => bail!("{}::{ident}: rename_all is {case:?}", item.ident),
        })
    };
    item.variants.iter().map(name).collect()
}

fn snake(camel: &str) -> String {
    let mut text = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = r#"
        struct Config { host: String, kernel: Kernel, sinks: Vec<Sink>, levels: Vec<Level>, start: Start }
        struct Kernel { after: Duration, room: NonZeroU32, #[serde(rename = "on")] enabled: bool }
        #[serde(rename_all = "lowercase")] enum Level { Error, Warn, Info }
        #[serde(try_from = "String", into = "String")] enum Start { End, Age(Duration) }
        /// Where to.
        #[serde(tag = "type", rename_all = "lowercase")] enum Sink {
            Stdout {
                /// How it is called.
                name: Option<String>,
            },
            File {
                /// How it is called.
                name: Option<String>,
                /// Which file.
                path: PathBuf,
                /// Which rules.
                rules: Vec<Rule>,
            },
        }
        /// When.
        struct Rule {
            /// How it begins.
            start: Option<String>,
        }
    "#;

    fn tree() -> Tree {
        Types::of(&[Source::parse("config/mod.rs", CODE).unwrap()])
            .tree("Config")
            .unwrap()
    }

    #[test]
    fn a_tree_is_read_with_its_types() {
        let leaves: Vec<_> = tree()
            .leaves
            .into_iter()
            .map(|leaf| format!("{}: {}", leaf.key, leaf.kind))
            .collect();
        assert_eq!(
            leaves,
            [
                "host: text",
                "kernel.after: duration",
                "kernel.room: integer, at least 1",
                "kernel.on: `true` or `false`, also `on` or `off`",
                "sinks: list of [`Sink`](#sink)",
                "levels: list of `error`, `warn` or `info`",
                "start: `end` or duration",
            ]
        );
    }

    #[test]
    fn what_lists_hold_is_a_shape_of_its_own() {
        let shapes = tree().shapes;
        let told: Vec<_> = shapes
            .iter()
            .flat_map(|shape| shape.fields.iter().map(move |field| (shape.name.as_str(), field)))
            .map(|(name, field)| format!("{name}.{}: {}: {}", field.name, field.kind, field.about))
            .collect();
        assert_eq!(
            told,
            [
                "Sink.type: `stdout` or `file`: Which of them it is.",
                "Sink.name: text: How it is called.",
                "Sink.path: path: With `type: file`. Which file.",
                "Sink.rules: list of [`Rule`](#rule): With `type: file`. Which rules.",
                "Rule.start: text: How it begins.",
            ]
        );
        assert_eq!(
            (shapes[0].about.as_str(), shapes[1].about.as_str()),
            ("Where to.", "When.")
        );
    }

    #[test]
    fn a_type_without_words_is_refused() {
        let types = Types::of(&[Source::parse("config/mod.rs", "struct Config { a: Unheard }").unwrap()]);
        let error = format!("{:#}", types.tree("Config").err().unwrap());
        assert!(error.starts_with("a: `Unheard` has no words yet"), "{error}");
    }
}
