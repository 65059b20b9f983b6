//! Messages of Protocol Buffers, written straight into a buffer.

/// The type of a field of eight bytes.
const EIGHT_BYTES: u64 = 1;
/// The type of a field that has a length.
const LENGTH_DELIMITED: u64 = 2;
/// A byte of a varint has seven bits of it.
const BITS: u32 = 7;

/// A field whose length is not known yet.
#[must_use]
pub struct Begun {
    /// Where its content begins.
    content: usize,
    /// How many bytes there are for its length.
    room: usize,
}

/// A number, in the encoding that takes few bytes for small ones.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 1 << BITS {
        out.push(value as u8 | 0x80);
        value >>= BITS;
    }
    out.push(value as u8);
}

/// A field with a number. Zero is what a missing field says.
pub(super) fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint(field << 3, out);
        varint(value, out);
    }
}

/// A field with a number of eight bytes. Zero is what a missing field says.
pub(super) fn fixed(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint(field << 3 | EIGHT_BYTES, out);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A field with a text, or with bytes.
pub(super) fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | LENGTH_DELIMITED, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Begins a field whose content follows, probably of `about` so many bytes. If it is not, [`end`] moves it.
pub(super) fn begin(field: u64, about: usize, out: &mut Vec<u8>) -> Begun {
    varint(field << 3 | LENGTH_DELIMITED, out);
    let room = length_of(about);
    out.resize(out.len() + room, 0);
    Begun {
        content: out.len(),
        room,
    }
}

/// Ends the field that was begun last.
pub(super) fn end(begun: Begun, out: &mut Vec<u8>) {
    let Begun { content, room } = begun;
    let length = out.len() - content;
    let needed = length_of(length);
    let start = content - room;
    if needed > room {
        out.resize(out.len() + needed - room, 0);
        out.copy_within(content..content + length, start + needed);
    } else if needed < room {
        out.copy_within(content.., start + needed);
        out.truncate(start + needed + length);
    }
    let mut rest = length;
    for (at, byte) in out[start..start + needed].iter_mut().enumerate() {
        let more = if at + 1 < needed { 0x80 } else { 0 };
        *byte = rest as u8 & 0x7f | more;
        rest >>= BITS;
    }
}

/// How many bytes a varint takes.
fn length_of(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    bits.div_ceil(BITS).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_whose_length_was_guessed_is_as_one_whose_length_was_known() {
        let lengths = [0, 1, 127, 128, 129, 16_383, 16_384, 300_000];
        for length in lengths {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut known = b"before".to_vec();
            bytes(2, &content, &mut known);
            for about in lengths {
                let mut guessed = b"before".to_vec();
                let begun = begin(2, about, &mut guessed);
                guessed.extend_from_slice(&content);
                end(begun, &mut guessed);
                assert_eq!(guessed, known, "{length}, guessed as {about}");
            }
        }
    }

    /// The examples of the encoding's own documentation.
    #[test]
    fn numbers_are_written_as_documented() {
        let mut out = Vec::new();
        number(1, 150, &mut out);
        assert_eq!(out, [0x08, 0x96, 0x01]);
        number(1, 0, &mut out);
        assert_eq!(out.len(), 3);
        out.clear();
        bytes(2, b"testing", &mut out);
        assert_eq!(out, b"\x12\x07testing");
        out.clear();
        fixed(1, 258, &mut out);
        fixed(1, 0, &mut out);
        assert_eq!(out, [0x09, 2, 1, 0, 0, 0, 0, 0, 0]);
        out.clear();
        varint(u64::MAX, &mut out);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }
}
