//! Where in a YAML text a key is: deserialising forgets it, and a contradiction between two
//! values is found only after.

use serde_saphyr::granit_parser::{Event, Parser};

/// Line and column, from 1, of the key that `path` names with dots.
pub fn key(text: &str, path: &str) -> Option<(u64, u64)> {
    let wanted: Vec<&str> = path.split('.').collect();
    // How many of the wanted keys the innermost open mapping lies under, a mapping each;
    // `None` for one that lies elsewhere.
    let mut open: Vec<Option<usize>> = Vec::new();
    // The depth that the value to come has, once its key has been read.
    let mut value: Option<Option<usize>> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        match event {
            Event::MappingStart(..) => {
                let depth = if open.is_empty() {
                    Some(0)
                } else {
                    value.take().flatten()
                };
                open.push(depth);
            }
            Event::SequenceStart(..) => {
                value = None;
                open.push(None);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            Event::Scalar(name, ..) => {
                if value.take().is_some() {
                    continue;
                }
                let depth = open.last().copied().flatten();
                let next = depth.filter(|&d| wanted.get(d) == Some(&&*name));
                if next.is_some_and(|d| d + 1 == wanted.len()) {
                    return Some((span.start.line() as u64, span.start.col() as u64 + 1));
                }
                value = depth.map(|_| next.map(|d| d + 1));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn finds_nested_keys() {
        let text = "a: 1\nb:\n  a: x\n  c: [a, {a: 2}]\n  d: {e: 3, a: 4}\nc:\n  d:\n    e: 5\n";
        assert_eq!(key(text, "a"), Some((1, 1)));
        assert_eq!(key(text, "b"), Some((2, 1)));
        assert_eq!(key(text, "b.a"), Some((3, 3)));
        assert_eq!(key(text, "b.d.a"), Some((5, 13)));
        assert_eq!(key(text, "c.d.e"), Some((8, 5)));
        assert_eq!(key(text, "c.a"), None);
        assert_eq!(key("[unclosed", "a"), None);
    }
}
