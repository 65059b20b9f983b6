//! Words that no file of the repository holds.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::files;

/// Put together here, or this file would be the first to hold them.
const WORDS: [(&str, &str); 6] = [
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("FIX", "ME"), "do it, or open an issue"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("// ", "Of "), "begin with the subject"),
];

pub fn check() -> Result<()> {
    let texts = files::texts()?;
    let found: Vec<_> = texts.iter().flat_map(|text| offences(&text.path, &text.text)).collect();
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

fn offences(file: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let hits = lines.flat_map(|(number, line)| {
        WORDS
            .iter()
            .filter(|(word, _)| line.contains(word))
            .map(move |hit| (number, hit))
    });
    hits.map(|(number, (word, advice))| format!("  {}:{}: {word}: {advice}", file.display(), number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offence_is_named_with_its_line() {
        let text = format!("fine\n// {}: later\n", concat!("TO", "DO"));
        assert_eq!(
            offences(Path::new("a.rs"), &text),
            [concat!("  a.rs:2: TO", "DO: do it, or open an issue")]
        );
        assert!(offences(Path::new("a.rs"), "all is done\n").is_empty());
    }
}
