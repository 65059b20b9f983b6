//! From plain text in the code to Markdown.

const WIDTH: usize = 100;

/// Marks what is code in plain text: names of keys, variables, paths, values.
pub fn marked(text: &str, is_key: impl Fn(&str) -> bool) -> String {
    let words = text.split_whitespace().map(|word| mark(word, &is_key));
    words.collect::<Vec<_>>().join(" ")
}

fn mark(word: &str, is_key: impl Fn(&str) -> bool) -> String {
    if word.contains('`') {
        return word.to_owned();
    }
    let start = word.len() - word.trim_start_matches(['(', '"']).len();
    let (open, rest) = word.split_at(start);
    let end = rest.trim_end_matches(['.', ',', ';', ':', ')', '"']).len();
    // `https://` ends with what else would be the sentence's.
    let end = rest.find("://").map_or(end, |scheme| end.max(scheme + 3));
    let (inner, close) = rest.split_at(end);
    let is_code = inner.contains(['_', '=', '*', '<', '/', '\\', '[', '{']) || inner.starts_with("--") || is_key(inner);
    if is_code && inner.len() > 1 {
        format!("{open}`{inner}`{close}")
    } else {
        word.replace('<', "\\<").replace('*', "\\*")
    }
}

/// In lines of at most 100 characters.
pub fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("never empty");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

/// As a cell of a table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_code_is_marked() {
        let is_key = |word: &str| word == "kernel.heal";
        for (plain, expected) in [
            ("As in web-*, (see kernel.heal).", "As in `web-*`, (see `kernel.heal`)."),
            ("unix:///s; https://: on.", "`unix:///s`; `https://`: on."),
            ("DOCKER_HOST, or 5 * 3", "`DOCKER_HOST`, or 5 \\* 3"),
            ("a `b_c` and \"truncated\"", "a `b_c` and \"truncated\""),
        ] {
            assert_eq!(marked(plain, is_key), expected);
        }
    }

    #[test]
    fn lines_are_wrapped_between_words() {
        let text = "word ".repeat(50);
        let lines = wrapped(&text);
        assert!(lines.lines().all(|line| line.len() <= WIDTH), "{lines}");
        assert_eq!(lines.split_whitespace().count(), 50);
    }
}
