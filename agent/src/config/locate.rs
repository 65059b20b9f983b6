//! Where in a YAML text a key is: deserialising forgets it, and a contradiction between two
//! values is found only after.

use serde_saphyr::granit_parser::{Event, Parser};

/// Line and column, from 1, of the key that `path` names with dots.
pub(super) fn key(text: &str, path: &str) -> Option<(u64, u64)> {
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

/// The key, with dots, that stands at this line and column, or has its value there.
pub(super) fn key_at(text: &str, line: u64, column: u64) -> Option<String> {
    // The present key of each open mapping, and whether its value is still to come; `None` for a list.
    let mut open: Vec<Option<(String, bool)>> = Vec::new();
    let mut found = None;
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else {
            break;
        };
        if (span.start.line() as u64, span.start.col() as u64 + 1) > (line, column) {
            break;
        }
        let innermost = open.last_mut().and_then(Option::as_mut);
        match event {
            Event::Scalar(name, ..) => match innermost {
                Some((key, awaits_value)) if !*awaits_value => {
                    (*key, *awaits_value) = (name.into_owned(), true);
                    let path: Vec<&str> = open.iter().flatten().map(|(key, _)| key.as_str()).collect();
                    found = Some(path.join("."));
                }
                Some((_, awaits_value)) => *awaits_value = false,
                None => {}
            },
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if let Some((_, awaits_value)) = innermost {
                    *awaits_value = false;
                }
                open.push(matches!(event, Event::MappingStart(..)).then(Default::default));
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            Event::Alias(..) => {
                if let Some((_, awaits_value)) = innermost {
                    *awaits_value = false;
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{key, key_at};

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

    #[test]
    fn finds_the_key_of_a_place() {
        let text = "a: 1\nb:\n  a: &x y\n  c: [u, {w: 2}]\n  d: {e: *x, g: 4}\nh: {}\n";
        for (line, column, expected) in [
            (1, 1, "a"),
            (1, 4, "a"),
            (2, 1, "b"),
            (3, 3, "b.a"),
            (3, 6, "b.a"),
            (4, 7, "b.c"),
            (4, 14, "b.c.w"),
            (5, 10, "b.d.e"),
            (5, 14, "b.d.g"),
            (6, 4, "h"),
        ] {
            assert_eq!(key_at(text, line, column).as_deref(), Some(expected), "{line}:{column}");
        }
        assert_eq!(key_at("# nothing", 1, 1), None);
        assert_eq!(key_at("a: [", 1, 4).as_deref(), Some("a"));
    }
}
