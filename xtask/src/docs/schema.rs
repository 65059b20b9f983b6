//! `configs/schema.json`: the configuration as a JSON schema, from its types, with what `configs/default.yaml` says of
//! each key.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use syn::{Fields, ItemEnum, Type};

use super::attributes::{doc, has_serde, serde};
use super::configuration::SHOWN;
use super::default_yaml::{self, Block};
use super::types::{Types, field_name, is_choice, is_text, last_of, variants};
use crate::{cargo, source};

pub fn text() -> Result<String> {
    let shown = std::fs::read_to_string(cargo::root().join(SHOWN)).context(SHOWN)?;
    let meanings = meanings(&shown)?;
    let mut schema = Types::of(&source::agent()?).section("Config", "", &meanings)?;
    let root = schema.as_object_mut().context("the root is an object")?;
    root.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    root.insert("title".into(), "log-capturer".into());
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// What the comment above each key says, without its examples.
fn meanings(shown: &str) -> Result<BTreeMap<String, String>> {
    let (_, entries) = default_yaml::read(shown).context(SHOWN)?;
    let said = entries.into_iter().map(|entry| {
        let texts = entry.comment.into_iter().filter_map(|block| match block {
            Block::Text(text) => Some(text),
            Block::Example(_) => None,
        });
        (entry.key, texts.collect::<Vec<_>>().join(" "))
    });
    Ok(said.collect())
}

impl Types {
    fn section(&self, name: &str, prefix: &str, meanings: &BTreeMap<String, String>) -> Result<Value> {
        let item = self.structs.get(name).with_context(|| format!("no struct {name}"))?;
        let mut properties = Map::new();
        for field in &item.fields {
            let name = field_name(field)?;
            let key = format!("{prefix}{name}");
            let mut schema = match last_of(&field.ty) {
                Some((inner, _)) if self.structs.contains_key(&inner) => {
                    self.section(&inner, &format!("{key}."), meanings)?
                }
                _ => self.value(&field.ty).with_context(|| key.clone())?,
            };
            let said = meanings.get(&key).filter(|said| !said.is_empty());
            describe(&mut schema, said.cloned().unwrap_or_else(|| doc(&field.attrs)));
            properties.insert(name, schema);
        }
        Ok(object(properties, Vec::new()))
    }

    fn value(&self, ty: &Type) -> Result<Value> {
        let (name, inner) = last_of(ty).context("not the name of a type")?;
        Ok(match (name.as_str(), inner) {
            ("Duration" | "String" | "PathBuf" | "SocketAddr", _) => json!({"type": "string"}),
            ("ByteSize", _) => json!({"type": ["string", "integer"]}),
            // YAML 1.2, which a schema is checked with, takes on and off for texts.
            ("bool", _) => json!({"enum": [true, false, "on", "off"]}),
            ("u8" | "u16" | "u32" | "u64" | "usize", _) => json!({"type": "integer", "minimum": 0}),
            ("NonZeroU32" | "NonZeroU64" | "NonZeroUsize", _) => json!({"type": "integer", "minimum": 1}),
            ("f64", _) => json!({"type": "number"}),
            ("Option", Some(inner)) => json!({"anyOf": [self.value(inner)?, {"type": "null"}]}),
            ("Vec", Some(inner)) => json!({"type": "array", "items": self.value(inner)?}),
            (name, _) => match (self.structs.get(name), self.enums.get(name)) {
                (Some(item), _) => self.of_fields(&item.fields, Vec::new(), !has_serde(&item.attrs, "default"))?,
                (_, Some(item)) if is_choice(item) => json!({"enum": choices(item)?}),
                (_, Some(item)) if is_text(item) => json!({"type": "string"}),
                (_, Some(item)) => self.tagged(item)?,
                _ => bail!("`{name}` has no schema yet: xtask/src/docs/schema.rs gives a type its schema"),
            },
        })
    }

    fn tagged(&self, item: &ItemEnum) -> Result<Value> {
        let tag = serde(&item.attrs, "tag").with_context(|| format!("{} has no tag", item.ident))?;
        let mut each = Vec::new();
        for (variant, written) in item.variants.iter().zip(variants(item)?) {
            let tag = (tag.clone(), json!({"const": written}));
            each.push(self.of_fields(&variant.fields, vec![tag], true)?);
        }
        Ok(json!({"oneOf": each}))
    }

    /// Those that have no default must be there.
    fn of_fields(&self, of: &Fields, known: Vec<(String, Value)>, is_required: bool) -> Result<Value> {
        let mut required: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
        let mut properties: Map<String, Value> = known.into_iter().collect();
        for field in of {
            let name = field_name(field)?;
            let is_option = last_of(&field.ty).is_some_and(|(name, _)| name == "Option");
            if is_required && !is_option && !has_serde(&field.attrs, "default") {
                required.push(name.clone());
            }
            let mut schema = self.value(&field.ty).with_context(|| name.clone())?;
            describe(&mut schema, doc(&field.attrs));
            properties.insert(name, schema);
        }
        Ok(object(properties, required))
    }
}

/// Unknown keys are refused everywhere.
fn object(properties: Map<String, Value>, required: Vec<String>) -> Value {
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn describe(schema: &mut Value, said: String) {
    if !said.is_empty() {
        schema["description"] = said.into();
    }
}

/// `on` and `off` also come as what YAML 1.1 makes of them.
fn choices(item: &ItemEnum) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for written in variants(item)? {
        match written.as_str() {
            "on" => all.push(true.into()),
            "off" => all.push(false.into()),
            _ => {}
        }
        all.push(written.into());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    const CODE: &str = r#"
        struct Config { pool: Pool, sinks: Vec<Sink>, mode: Mode, start: Start }
        struct Pool { max_size: NonZeroU32, max_age: Duration, debug: bool }
        #[serde(rename_all = "lowercase")] enum Mode { Auto, Off }
        #[serde(try_from = "String")] enum Start { End, Age(Duration) }
        #[serde(tag = "type", rename_all = "lowercase")] enum Sink {
            Stdout { name: Option<String> },
            File {
                /// Which file.
                path: PathBuf,
                #[serde(default)] limit: ByteSize,
            },
        }
    "#;

    #[test]
    fn a_schema_has_the_types_the_meanings_and_what_must_be_there() {
        let types = Types::of(&[Source::parse("config/mod.rs", CODE).unwrap()]);
        let meanings = meanings("pool:\n  # How old.\n  #   max_age: 1m\n  max_age: 5m\n").unwrap();
        let schema = types.section("Config", "", &meanings).unwrap();
        let pool = &schema["properties"]["pool"];
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(pool["properties"]["max_size"], json!({"type": "integer", "minimum": 1}));
        assert_eq!(
            pool["properties"]["max_age"],
            json!({"type": "string", "description": "How old."})
        );
        assert_eq!(schema["properties"]["mode"], json!({"enum": ["auto", false, "off"]}));
        assert_eq!(schema["properties"]["start"], json!({"type": "string"}));
        let file = &schema["properties"]["sinks"]["items"]["oneOf"][1];
        assert_eq!(file["required"], json!(["type", "path"]));
        assert_eq!(file["properties"]["type"], json!({"const": "file"}));
        assert_eq!(file["properties"]["path"]["description"], "Which file.");
    }

    #[test]
    fn a_type_without_a_schema_is_refused() {
        let types = Types::of(&[Source::parse("config/mod.rs", "struct Config { a: Unheard }").unwrap()]);
        let error = format!("{:#}", types.section("Config", "", &BTreeMap::new()).unwrap_err());
        assert!(error.starts_with("a: `Unheard` has no schema yet"), "{error}");
    }
}
