//! The text of a JSON string.

use crate::escape::{BLOCK, clean_bytes};

/// A string that was decoded.
pub(super) struct Unescaped {
    /// The place of the quote that ends it.
    pub quote: usize,
    /// How many bytes its text has.
    pub length: usize,
    /// It has no escapes but those that [`Line::escaped`](crate::record::Line) allows.
    pub is_usual: bool,
}

/// Decodes a string into the start of `out`. `from` is a place before which nothing is escaped. `None` for what is no JSON
/// string, or is not all there: behind its quote there must be a few more bytes.
///
/// Half of a surrogate pair becomes U+FFFD, as the engine's own decoder has it (`encoding/json`).
pub(super) fn unescape(input: &[u8], from: usize, out: &mut Vec<u8>) -> Option<Unescaped> {
    make_room(out, from);
    out[..from].copy_from_slice(&input[..from]);
    let (mut at, mut length, mut is_usual) = (from, from, true);
    loop {
        make_room(out, length);
        // A block is copied whole, and what of it is no text is written over. With quotes a few bytes apart, that is
        // faster than to find the next one first.
        let block = input.get(at..)?.first_chunk()?;
        *out[length..].first_chunk_mut()? = *block;
        let clean = clean_bytes(block);
        at += clean;
        length += clean;
        if clean == BLOCK {
            continue;
        }
        let &[first, kind, ..] = input.get(at..)? else {
            return None;
        };
        match (first, kind) {
            (b'"', _) => {
                let quote = at;
                return Some(Unescaped {
                    quote,
                    length,
                    is_usual,
                });
            }
            (b'\\', b'"' | b'\\' | b'/') => {
                *out.get_mut(length)? = kind;
                at += 2;
                length += 1;
            }
            (b'\\', _) => {
                let (character, escape) = character(kind, &input[at..])?;
                is_usual &= character.is_ascii() && !matches!(kind, b'b' | b'f');
                at += escape;
                length += character.encode_utf8(&mut out[length..]).len();
            }
            _ => return None,
        }
    }
}

/// So that behind `length` there is room for one step. What was there is never cleared: it is only written over.
fn make_room(out: &mut Vec<u8>, length: usize) {
    // A character can come behind all bytes of a block but one.
    const STEP: usize = BLOCK + char::MAX.len_utf8();
    if out.len() < length + STEP {
        out.resize(2 * length + STEP, 0);
    }
}

/// The character that an escape of this kind is for, and the length of the escape.
fn character(kind: u8, escape: &[u8]) -> Option<(char, usize)> {
    let character = match kind {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(escape),
        _ => return None,
    };
    Some((character, 2))
}

/// Decodes `\uXXXX`, or two of them that are a surrogate pair.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let high = unit(escape)?;
    let (character, length) = match (high, escape.get(6..).and_then(unit)) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12),
        _ => (high, 6),
    };
    Some((char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER), length))
}

/// The code unit of `\uXXXX`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_character_wherever_it_comes() {
        for clean in 0..3 * BLOCK {
            for (escape, character) in [(r"\n", "\n"), (r"\ufffd", "\u{fffd}"), (r"\ud83d\ude00", "😀")] {
                for count in 0..3 * BLOCK {
                    let x = "x".repeat(clean);
                    let string = format!("{}\"and what is behind it", format!("{x}{escape}").repeat(count));
                    let mut out = Vec::new();
                    let found = unescape(string.as_bytes(), 0, &mut out).expect("a string");
                    let text = std::str::from_utf8(&out[..found.length]);
                    assert_eq!(text, Ok(&*format!("{x}{character}").repeat(count)), "{string}");
                    assert!(string[found.quote..].starts_with("\"and"));
                }
            }
        }
    }
}
