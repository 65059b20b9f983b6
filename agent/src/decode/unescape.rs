//! The text of a JSON string.

use crate::escape::{WORD, clean_bytes};

/// Decodes a string into `out`, and gives the place of the quote that ends it. `from` is a place before which nothing is
/// escaped. `None` for what is no JSON string, or is not all there: behind its quote there must be a few more bytes.
///
/// Half of a surrogate pair becomes U+FFFD, as the engine's own decoder has it (`encoding/json`).
pub fn unescape(input: &[u8], from: usize, out: &mut Vec<u8>) -> Option<usize> {
    out.clear();
    out.extend_from_slice(&input[..from]);
    let mut at = from;
    loop {
        // A word is copied whole, and what is not text of it is taken back. With quotes a few bytes apart, that is twice
        // as fast as to find the end first.
        let bytes = input.get(at..)?.first_chunk()?;
        let clean = clean_bytes(bytes);
        out.extend_from_slice(bytes);
        at += clean;
        if clean == WORD {
            continue;
        }
        out.truncate(out.len() - (WORD - clean));
        match input[at] {
            b'"' => return Some(at),
            b'\\' => at += escape(&input[at..], out)?,
            _ => return None,
        }
    }
}

/// Decodes one escape, and gives its length.
fn escape(input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let byte = match input.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'f' => 0x0c,
        same @ (b'"' | b'\\' | b'/') => *same,
        b'u' => return unicode(input, out),
        _ => return None,
    };
    out.push(byte);
    Some(2)
}

/// Decodes `\uXXXX`, or two of them that are a surrogate pair.
fn unicode(input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = unit(input)?;
    let (character, length) = match (unit, input.get(6..).and_then(self::unit)) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => (0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), 12),
        _ => (unit, 6),
    };
    let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

/// The code unit of `\uXXXX`.
fn unit(input: &[u8]) -> Option<u32> {
    let digits = input.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}
