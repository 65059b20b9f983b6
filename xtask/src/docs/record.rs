//! `record.md`: the fields of a record, from the documented types that write and read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use syn::{Item, ItemStruct};

use super::attributes::{doc, has_serde};
use super::prose::{cell, marked};
use crate::source::{self, Source};

/// What a field is called in front of its name, and the struct that has it.
const PARTS: [(&str, &str); 5] = [
    ("", "RecordFields"),
    ("container.", "ContainerFields"),
    ("container.compose.", "Compose"),
    ("container.swarm.", "Swarm"),
    ("", "CommonFields"),
];

const INTRODUCTION: &str = "\
# The record

The sinks `stdout` and `file` get one JSON object a line for each record:

```json
{\"ts\":\"2026-11-20T15:04:58.662848374Z\",\"stream\":\"stdout\",\"line\":\"GET /page/1 200\",
 \"container\":{\"id\":\"<64 hexadecimal digits>\",\"name\":\"web\",\"image\":\"nginx:1.27\",\"labels\":{\"tier\":\"front\"}},
 \"host\":\"node-1\"}
```

(It is one line; here it is broken to fit.) Any JSON parser gives the bytes that the container wrote.
How a character is escaped inside a string (`<` or `\\u003c`) is not promised.

| field | presence | meaning |
|---|---|---|
";

pub fn page() -> Result<String> {
    let sources = source::agent()?;
    let mut text = INTRODUCTION.to_owned();
    // What one part reads another writes.
    let mut told = BTreeSet::new();
    for (prefix, name) in PARTS {
        let item = find(&sources, name)?;
        for field in &item.fields {
            let ident = field.ident.as_ref().context("a field without a name")?;
            let path = format!("{prefix}{ident}");
            if !told.insert(path.clone()) {
                continue;
            }
            let about = doc(&field.attrs);
            ensure!(!about.is_empty(), "{name}::{ident} has no doc comment");
            let about = cell(&marked(&about, |_| false));
            writeln!(text, "| `{path}` | {} | {about} |", presence(field))?;
        }
    }
    Ok(text)
}

fn find<'a>(sources: &'a [Source], name: &str) -> Result<&'a ItemStruct> {
    let items = sources.iter().flat_map(|source| &source.file.items);
    let mut structs = items.filter_map(|item| match item {
        Item::Struct(item) if item.ident == name => Some(item),
        _ => None,
    });
    let found = structs.next().with_context(|| format!("no struct {name}"))?;
    ensure!(structs.next().is_none(), "more than one struct {name}");
    Ok(found)
}

fn presence(field: &syn::Field) -> &'static str {
    let is_optional = matches!(&field.ty, syn::Type::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == "Option"));
    let has_default = has_serde(&field.attrs, "default");
    if is_optional || has_default {
        "sometimes"
    } else {
        "always"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_found_wherever_it_lies() {
        let sources = [
            Source::parse("a.rs", "struct Other;").unwrap(),
            Source::parse(
                "b/c.rs",
                "struct Fields { a: u8, b: Option<u8>, #[serde(default)] c: bool }",
            )
            .unwrap(),
        ];
        let found = find(&sources, "Fields").unwrap();
        let told: Vec<_> = found.fields.iter().map(presence).collect();
        assert_eq!(told, ["always", "sometimes", "sometimes"]);
        assert!(find(&sources, "None").is_err());
    }
}
