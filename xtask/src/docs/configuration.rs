//! `configuration.md`: keys, defaults and meanings from `configs/default.yaml`, types from the code.
//!
//! A test of the agent holds that file equal to the code. Here both must name the same keys, so nothing is read wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use super::default_yaml::{self, Block, Entry};
use super::prose::{cell, marked, wrapped};
use super::types::{Shape, Tree, Types};
use crate::cargo;
use crate::source;

pub(super) const SHOWN: &str = "configs/default.yaml";
const INTRODUCTION: &str = "\
# Configuration

Every key of the configuration, with its type, its default, and the variable that overrides it. The
same keys with the same defaults are in [default.yaml](../../configs/default.yaml), which can be
copied as a beginning.

A value is taken from the first of these places that has it:

1. `--set KEY=VALUE` on the command line, with the key's dots, as in `--set capture.rotation.interval=1m`;
2. the variable, as in `LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL=1m`;
3. the file that `--config FILE` names, in YAML;
4. for the engine alone, the docker client's own variables (`DOCKER_HOST` and its like);
5. the default.

A *duration* is written as `5m`, `2s 500ms` or `1h`, a *size* as `64MiB` or as a number of bytes.
`log-capturer check --config FILE` names every unknown key, bad value and contradiction with its line.
";

pub fn page() -> Result<String> {
    let text = std::fs::read_to_string(cargo::root().join(SHOWN)).context(SHOWN)?;
    let (_, entries) = default_yaml::read(&text).context(SHOWN)?;
    let tree = Types::of(&source::agent()?).tree("Config")?;
    render(&entries, &tree)
}

fn render(entries: &[Entry], tree: &Tree) -> Result<String> {
    let kinds: BTreeMap<&str, &str> = tree
        .leaves
        .iter()
        .map(|leaf| (leaf.key.as_str(), leaf.kind.as_str()))
        .collect();
    let shown: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| entry.default.is_some())
        .map(|entry| entry.key.as_str())
        .collect();
    let typed: BTreeSet<&str> = kinds.keys().copied().collect();
    ensure!(
        shown == typed,
        "only in {SHOWN} or only in the types: {:?}",
        shown.symmetric_difference(&typed).collect::<Vec<_>>()
    );
    let is_key = |word: &str| word.contains('.') && entries.iter().any(|entry| entry.key == word);
    let mut text = INTRODUCTION.to_owned();
    for section in entries
        .iter()
        .filter(|entry| !entry.key.contains('.') || entry.default.is_none())
    {
        write!(text, "\n## `{}`\n", section.key)?;
        comment(section, &mut text, is_key)?;
        if let Some(default) = &section.default {
            value(section, default, kinds[section.key.as_str()], &mut text)?;
        }
        for entry in entries
            .iter()
            .filter(|entry| is_directly_below(&entry.key, &section.key))
        {
            if let Some(default) = &entry.default {
                write!(text, "\n### `{}`\n", entry.key)?;
                ensure!(
                    !entry.comment.is_empty(),
                    "{SHOWN} does not say what {} means",
                    entry.key
                );
                value(entry, default, kinds[entry.key.as_str()], &mut text)?;
                comment(entry, &mut text, is_key)?;
            }
        }
    }
    if !tree.shapes.is_empty() {
        text.push_str("\n## Items of lists\n");
    }
    for shape in &tree.shapes {
        items(shape, &mut text, is_key)?;
    }
    Ok(text)
}

fn is_directly_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| !rest.contains('.'))
}

fn comment(entry: &Entry, text: &mut String, is_key: impl Fn(&str) -> bool) -> Result<()> {
    for block in &entry.comment {
        match block {
            Block::Text(said) => write!(text, "\n{}\n", wrapped(&marked(said, &is_key)))?,
            Block::Example(lines) => write!(text, "\n```yaml\n{lines}\n```\n")?,
        }
    }
    Ok(())
}

fn value(entry: &Entry, default: &str, kind: &str, text: &mut String) -> Result<()> {
    let variable = format!("LOG_CAPTURER_{}", entry.key.replace('.', "_").to_uppercase());
    let default = match default {
        "\"\"" => "empty".to_owned(),
        "[]" => "none".to_owned(),
        default => format!("`{}`", default.replace('\n', ", ")),
    };
    write!(text, "\nType: {kind}. Default: {default}. Variable: `{variable}`.\n")?;
    Ok(())
}

fn items(shape: &Shape, text: &mut String, is_key: impl Fn(&str) -> bool) -> Result<()> {
    write!(
        text,
        "\n### {}\n\n{}\n\n",
        shape.name,
        wrapped(&marked(&shape.about, &is_key))
    )?;
    text.push_str("| key | type | meaning |\n|---|---|---|\n");
    ensure!(!shape.about.is_empty(), "{} has no doc comment", shape.name);
    for field in &shape.fields {
        let about = cell(&marked(&field.about, &is_key));
        writeln!(text, "| `{}` | {} | {} |", field.name, cell(&field.kind), about.trim())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    const CODE: &str = "struct Config { host: String, pool: Pool } struct Pool { max_size: usize, max_age: Duration }";
    const YAML: &str = "\
# A name.
host: \"\"

# The pool.
pool:
  # So many, see pool.max_age.
  max_size: 4
  # How old.
  max_age: 5m
";

    fn page(yaml: &str) -> Result<String> {
        let types = Types::of(&[Source::parse("config/mod.rs", CODE).unwrap()]);
        render(&default_yaml::read(yaml).unwrap().1, &types.tree("Config").unwrap())
    }

    #[test]
    fn a_key_has_its_type_its_default_its_variable_and_its_meaning() {
        let page = page(YAML).unwrap();
        for part in [
            "\n## `host`\n\nA name.\n\nType: text. Default: empty. Variable: `LOG_CAPTURER_HOST`.\n",
            "\n## `pool`\n\nThe pool.\n",
            "\n### `pool.max_size`\n\nType: integer. Default: `4`. Variable: `LOG_CAPTURER_POOL_MAX_SIZE`.\n\n\
             So many, see `pool.max_age`.\n",
            "\n### `pool.max_age`\n\nType: duration. Default: `5m`.",
        ] {
            assert!(page.contains(part), "no {part:?} in\n{page}");
        }
    }

    #[test]
    fn a_key_that_only_one_of_them_has_or_that_nobody_explains_is_refused() {
        let refused = |yaml: &str| format!("{:#}", page(yaml).unwrap_err());
        assert!(refused(&YAML.replace("max_age", "max_agee")).contains("pool.max_agee"));
        assert!(refused(&YAML.replace("  # How old.\n", "")).contains("pool.max_age"));
    }
}
