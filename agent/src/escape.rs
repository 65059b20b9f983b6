//! Where text must be escaped inside a JSON string (RFC 8259, section 7). A leaf, no I/O.

/// Bytes that are looked at together, where the first one to be escaped is near.
pub const BLOCK: usize = 16;
/// The same, where none may be.
const WIDE: usize = 4 * BLOCK;

fn must_be_escaped(byte: u8) -> bool {
    // Not `||`: without branches the compiler takes a whole block with a few vector instructions.
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// How many bytes at the start need no escape.
pub fn clean_prefix(text: &[u8]) -> usize {
    let is_clean = |block: &&[u8]| !block.iter().fold(false, |any, &byte| any | must_be_escaped(byte));
    let mut at = text.chunks_exact(WIDE).take_while(is_clean).count() * WIDE;
    while let Some(block) = text[at..].first_chunk() {
        match clean_bytes(block) {
            BLOCK => at += BLOCK,
            clean => return at + clean,
        }
    }
    let rest = text[at..].iter().position(|&byte| must_be_escaped(byte));
    rest.map_or(text.len(), |clean| at + clean)
}

/// How many bytes at the start of a block need no escape.
#[inline]
pub fn clean_bytes(block: &[u8; BLOCK]) -> usize {
    let mut found = [0; BLOCK];
    for (found, &byte) in found.iter_mut().zip(block) {
        *found = if must_be_escaped(byte) { 0xff } else { 0 };
    }
    u128::from_le_bytes(found).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_to_escape_is_found_wherever_it_is() {
        let bytes = *b"\x00\x0a\x1f\x20\x21\x22\x23[\\]\x7f\x80\xa2\xff";
        for length in 0..150 {
            for filler in [b'x', 0xff] {
                let mut text = vec![filler; length];
                assert_eq!(clean_prefix(&text), length, "{filler:#x}");
                for at in 0..length {
                    for byte in bytes {
                        text[at] = byte;
                        let wanted = if byte < 0x20 || b"\"\\".contains(&byte) {
                            at
                        } else {
                            length
                        };
                        assert_eq!(clean_prefix(&text), wanted, "{byte:#x} at {at} of {length}");
                    }
                    text[at] = filler;
                }
            }
        }
    }

    #[test]
    fn a_later_one_does_not_hide_the_first() {
        for first in [0, 0x1f, b'"', b'\\'] {
            for second in 0..=255 {
                let text = [b'x', 0x7f, first, second, second, b'x', second, b'"'];
                assert_eq!(clean_prefix(&text), 2, "{first:#x} then {second:#x}");
                assert_eq!(clean_prefix(&[text, text].concat()), 2, "{first:#x} then {second:#x}");
            }
        }
    }
}
