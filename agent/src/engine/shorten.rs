//! JSON that is made short as it comes: what one container says of itself must not grow beyond measure.
//!
//! The answer to a list has all containers in it, and anybody who may start a container writes a part of it. So a value
//! of an object that is longer than a limit is replaced by `false`, which is no value that any such field has. What is
//! around it stays as it was, and is still JSON.

use std::time::Duration;

use memchr::memchr2;

/// What stands for a value that was too long.
const LEFT_OUT: &[u8] = b"false";

/// How much of an answer is kept, and how long its body is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// For the whole body; `None`: as long as for any.
    pub(super) time: Option<Duration>,
    /// Bytes of the whole text.
    pub(super) text: usize,
    /// Bytes of one value of an object; `None`: any number.
    pub(super) value: Option<usize>,
}

/// Bytes of one value where half of the whole text's room is taken.
const SCARCE: usize = 4 * 1024;

/// Takes a JSON text in pieces.
#[derive(Debug)]
pub(super) struct Shortened {
    limit: Limit,
    text: Vec<u8>,
    nesting: Nesting,
    /// For each open array or object: where the value begins that is being read of an object.
    values: Vec<Option<usize>>,
    /// How deep a value is nested in what is being left out.
    leaving_out: Option<usize>,
}

/// Whether a byte is a part of a string.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// How many bytes can be taken together, as nothing in them tells of the structure. At least 1 of what is not empty.
    fn plain(self, bytes: &[u8]) -> usize {
        if self.in_string && !self.escaped {
            memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()).max(1)
        } else {
            1
        }
    }

    /// Takes a byte, and tells whether it belongs to the structure.
    fn is_structure(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ => return !self.in_string && matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b','),
        }
        false
    }
}

impl Shortened {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit,
            text: Vec::new(),
            nesting: Nesting::default(),
            values: Vec::new(),
            leaving_out: None,
        }
    }

    /// Takes the next piece. Tells whether the text is still within its limit.
    pub(super) fn add(&mut self, mut piece: &[u8]) -> bool {
        let Some(longest) = self.limit.value else {
            self.text.extend_from_slice(piece);
            return self.text.len() <= self.limit.text;
        };
        while let Some(&first) = piece.first() {
            let plain = self.nesting.plain(piece);
            if plain > 1 {
                self.keep(&piece[..plain]);
            } else if self.nesting.is_structure(first) {
                self.structure(first);
            } else {
                self.keep(&[first]);
            }
            piece = &piece[plain..];
            self.leave_out_beyond(longest);
        }
        self.text.len() <= self.limit.text
    }

    /// What is left of the text.
    pub(super) fn finish(self) -> Vec<u8> {
        self.text
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.leaving_out.is_none() {
            self.text.extend_from_slice(bytes);
        }
    }

    fn structure(&mut self, byte: u8) {
        match (&mut self.leaving_out, byte) {
            (Some(depth), b'{' | b'[') => *depth += 1,
            (Some(depth), b'}' | b']') if *depth > 0 => *depth -= 1,
            (Some(0), b'}' | b']' | b',') => self.leaving_out = None,
            _ => {}
        }
        if self.leaving_out.is_some() {
            return;
        }
        self.text.push(byte);
        match byte {
            b'{' | b'[' => self.values.push(None),
            b'}' | b']' => {
                self.values.pop();
            }
            b':' => self.begin(Some(self.text.len())),
            _ => self.begin(None),
        }
    }

    fn begin(&mut self, value: Option<usize>) {
        if let Some(open) = self.values.last_mut() {
            *open = value;
        }
    }

    /// Where a value is too long, the innermost one goes that makes up most of it.
    fn leave_out_beyond(&mut self, longest: usize) {
        if self.leaving_out.is_some() || self.text.len() <= SCARCE {
            return;
        }
        let is_scarce = self.text.len() > self.limit.text / 2;
        let longest = if is_scarce { longest.min(SCARCE) } else { longest };
        let end = self.text.len();
        let exceeds = |length: usize| move |value: &Option<usize>| value.is_some_and(|begin| end - begin > length);
        if !self.values.iter().any(exceeds(longest)) {
            return;
        }
        let Some(at) = self.values.iter().rposition(exceeds(longest / 2)) else {
            return;
        };
        self.text.truncate(self.values[at].unwrap_or(end));
        self.text.extend_from_slice(LEFT_OUT);
        self.leaving_out = Some(self.values.len() - 1 - at);
        self.values.truncate(at + 1);
    }
}

/// The elements of a JSON array, each as its text. One that is no JSON spoils no other where strings and brackets are
/// still told apart.
pub(super) fn elements(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let begin = text.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let mut rest = text[begin..].strip_prefix(b"[")?;
    Some(std::iter::from_fn(move || {
        let (element, next) = first_element(rest);
        rest = next;
        (!element.is_empty()).then_some(element)
    }))
}

/// The text up to the comma or the bracket that ends it, and what is behind.
fn first_element(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut nesting, mut depth, mut at) = (Nesting::default(), 0_usize, 0);
    while at < text.len() {
        let plain = nesting.plain(&text[at..]);
        if plain == 1 && nesting.is_structure(text[at]) {
            match text[at] {
                b'{' | b'[' => depth += 1,
                b',' if depth == 0 => return (text[..at].trim_ascii(), &text[at + 1..]),
                b'}' | b']' if depth == 0 => return (text[..at].trim_ascii(), &[]),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        at += plain;
    }
    (text.trim_ascii(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        time: None,
        text: 1 << 20,
        value: Some(5_000),
    };

    fn shortened(text: &str, limit: Limit, piece: usize) -> (String, bool) {
        let mut short = Shortened::new(limit);
        let mut fits = true;
        for piece in text.as_bytes().chunks(piece) {
            fits &= short.add(piece);
        }
        (String::from_utf8(short.finish()).unwrap(), fits)
    }

    #[test]
    fn the_innermost_value_that_is_too_long_is_left_out_whatever_the_pieces() {
        let long = "x\\\"]},{".repeat(2_000);
        let many: Vec<_> = (0..2_000).map(|n| format!("\"k{n}\":[\"}}\"]")).collect();
        let many = many.join(",");
        for (given, expected) in [
            (
                format!(r#"[{{"a":"{long}","b":[1,2]}},3]"#),
                r#"[{"a":false,"b":[1,2]},3]"#,
            ),
            (
                format!(r#"[{{"a":{{"b":"{long}","c":1}}}}]"#),
                r#"[{"a":{"b":false,"c":1}}]"#,
            ),
            (
                format!(r#"[{{"a":{{{many}}},"b":1}}, {{}}]"#),
                r#"[{"a":false,"b":1}, {}]"#,
            ),
            (format!(r#"{{"a":[[["{long}"]]]}}"#), r#"{"a":false}"#),
            (format!(r#"{{"a":{}}}"#, "1".repeat(20_000)), r#"{"a":false}"#),
        ] {
            for piece in [1, 7, 1_000, given.len()] {
                assert_eq!(shortened(&given, LIMIT, piece), (expected.to_owned(), true), "{piece}");
            }
        }
    }

    #[test]
    fn what_is_short_enough_stays_as_it_is() {
        let text = r#" [{"a": "\\", "b": {"c": [null, -1.5e3, "\u00e9é"]}}, [], {} ] "#;
        for piece in [1, 2, 100] {
            assert_eq!(shortened(text, LIMIT, piece).0, text);
        }
        let huge = format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000));
        let all = Limit { value: None, ..LIMIT };
        assert_eq!(shortened(&huge, all, 1_000), (huge.clone(), true));
    }

    #[test]
    fn many_long_ones_do_not_take_the_room_of_the_others() {
        let entry = |n| format!(r#"{{"id":{n},"labels":"{}"}}"#, "x".repeat(4_900));
        let entries: Vec<_> = (0..150).map(entry).collect();
        let limit = Limit { text: 400_000, ..LIMIT };
        let (text, fits) = shortened(&format!("[{}]", entries.join(",")), limit, 999);
        assert!(fits && text.contains(r#""id":149"#), "{}", text.len());
        let (_, fits) = shortened(&format!("[{}", "1,".repeat(400_000)), limit, 999);
        assert!(!fits);
    }

    #[test]
    fn an_array_comes_apart() {
        let parts = |text: &str| -> Vec<String> {
            let parts = elements(text.as_bytes()).unwrap();
            parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
        };
        assert_eq!(parts(" [ ] "), Vec::<String>::new());
        assert_eq!(
            parts(r#"[{"a":"],["} , nonsense, [1,[2]] ]"#),
            [r#"{"a":"],["}"#, "nonsense", "[1,[2]]"]
        );
        assert!(elements(b"{}").is_none() && elements(b"").is_none());
    }
}
