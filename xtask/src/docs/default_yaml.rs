//! `configs/default.yaml` read with its comments: a key, its default, and what is written above it.
//!
//! Only the YAML of that file: a mapping of mappings, with a value on the key's own line or a list below it.

use anyhow::{Result, bail};

#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// With dots.
    pub key: String,
    /// As it is written; none for a section.
    pub default: Option<String>,
    pub comment: Vec<Block>,
}

/// A part of a comment.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    Text(String),
    /// Lines that are indented further: an example, as it would stand in the file.
    Example(String),
}

/// What a comment at the head of the file says, and its entries.
pub fn read(text: &str) -> Result<(Vec<Block>, Vec<Entry>)> {
    let mut head = None;
    let mut entries: Vec<Entry> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // The keys that the next line is below, with their indentation.
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indentation = line.len() - content.len();
        if content.is_empty() {
            let blocks = blocks(&std::mem::take(&mut comment));
            if entries.is_empty() && head.is_none() {
                head = Some(blocks);
            }
        } else if let Some(text) = content.strip_prefix('#') {
            comment.push(text);
        } else if content.starts_with("- ") {
            let Some(list) = entries.last_mut() else {
                bail!("line {}: an item of no list", number + 1);
            };
            let items = list.default.get_or_insert_default();
            if !items.is_empty() {
                items.push('\n');
            }
            items.push_str(content);
        } else if let Some((key, value)) = content.split_once(':') {
            open.retain(|(outer, _)| *outer < indentation);
            open.push((indentation, key));
            let keys: Vec<_> = open.iter().map(|(_, key)| *key).collect();
            entries.push(Entry {
                key: keys.join("."),
                default: Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
                comment: blocks(&std::mem::take(&mut comment)),
            });
        } else {
            bail!("line {}: neither a key nor a comment: {line}", number + 1);
        }
    }
    Ok((head.unwrap_or_default(), entries))
}

fn blocks(comment: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for line in comment {
        let is_example = line.starts_with("   ");
        let line = if is_example { &line[3..] } else { line.trim() };
        match (blocks.last_mut(), is_example) {
            (Some(Block::Text(text)), false) => {
                text.push(' ');
                text.push_str(line);
            }
            (Some(Block::Example(text)), true) => {
                text.push('\n');
                text.push_str(line);
            }
            (_, false) => blocks.push(Block::Text(line.to_owned())),
            (_, true) => blocks.push(Block::Example(line.to_owned())),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
# The head.

# A host.
host: \"\"

outer:
  # Two lines
  # of text:
  #   rules: []
  inner:
    key: 5m
  # Behind it.
  other: [a, b]

list:
  - type: stdout
  - type: file
";

    #[test]
    fn keys_have_their_comments_and_defaults() {
        let (head, entries) = read(YAML).unwrap();
        let text = |text: &str| Block::Text(text.to_owned());
        assert_eq!(head, [text("The head.")]);
        let entry = |key: &str, default: Option<&str>, comment: Vec<Block>| Entry {
            key: key.to_owned(),
            default: default.map(str::to_owned),
            comment,
        };
        assert_eq!(
            entries,
            [
                entry("host", Some("\"\""), vec![text("A host.")]),
                entry("outer", None, vec![]),
                entry(
                    "outer.inner",
                    None,
                    vec![text("Two lines of text:"), Block::Example("rules: []".to_owned())]
                ),
                entry("outer.inner.key", Some("5m"), vec![]),
                entry("outer.other", Some("[a, b]"), vec![text("Behind it.")]),
                entry("list", Some("- type: stdout\n- type: file"), vec![]),
            ]
        );
    }

    #[test]
    fn what_is_neither_is_refused_with_its_line() {
        let error = read("a: 1\nnonsense\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
