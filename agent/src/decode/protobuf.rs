//! The fields of a protobuf message, where they lie.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Integer(u64),
    /// A string, bytes or another message.
    Bytes(&'a [u8]),
    /// A type that no message here has.
    Other,
}

/// Takes the next field off a message: its number and value. `None` for what is no field.
pub fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = integer(message)?;
    let value = match tag & 7 {
        0 => Value::Integer(integer(message)?),
        1 => {
            take(message, 8)?;
            Value::Other
        }
        2 => {
            let length = usize::try_from(integer(message)?).ok()?;
            Value::Bytes(take(message, length)?)
        }
        5 => {
            take(message, 4)?;
            Value::Other
        }
        _ => return None,
    };
    // There is no field 0: such a tag is a run of NULs.
    (tag >> 3 > 0).then_some((tag >> 3, value))
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

/// An integer, seven bits a byte, the lowest first. All bytes but the last one have the highest bit set.
pub(super) fn integer(message: &mut &[u8]) -> Option<u64> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let Some((eight, rest)) = message.split_first_chunk() else {
        return integer_from(0, 0, message);
    };
    let word = u64::from_le_bytes(*eight);
    let last = !word & HIGH;
    if last == 0 {
        *message = rest;
        return integer_from(packed(word), 56, message);
    }
    let length = last.trailing_zeros() as usize / 8 + 1;
    *message = &message[length..];
    // What is above the last byte is not of the integer.
    Some(packed(word & (last ^ (last - 1))))
}

/// Puts the sevens of bits of eight bytes together: neighbours to pairs, pairs to fours, and these.
fn packed(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// The rest of an integer, of which the lowest bits are known, byte by byte.
fn integer_from(mut value: u64, bits: u32, message: &mut &[u8]) -> Option<u64> {
    for shift in (bits..u64::BITS).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_type_are_told_apart() {
        let mut message =
            &b"\x08\x96\x01\x12\x03abc\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04\x2a\x00"[..];
        let mut fields = Vec::new();
        while !message.is_empty() {
            fields.push(field(&mut message).expect("a field"));
        }
        let wanted = [
            (1, Value::Integer(150)),
            (2, Value::Bytes(b"abc")),
            (3, Value::Other),
            (4, Value::Other),
            (5, Value::Bytes(b"")),
        ];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn an_integer_of_any_length_is_read_whatever_is_behind_it() {
        for bits in 0..=u64::BITS {
            let value = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0) & 0xa5a5_c3c3_9669_f00f;
            let (mut bytes, mut left) = (vec![0x08], value);
            while left > 0x7f {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            for (behind, filler) in (0..12).flat_map(|behind| [(behind, 0), (behind, 0xff), (behind, 0x7f)]) {
                let message = [&bytes[..], &vec![filler; behind]].concat();
                let mut rest = &message[..];
                assert_eq!(field(&mut rest), Some((1, Value::Integer(value))), "{message:02x?}");
                assert_eq!(rest, vec![filler; behind]);
            }
        }
    }

    #[test]
    fn what_is_cut_or_has_no_such_type_is_no_field() {
        for broken in [
            &b""[..],
            b"\x08",
            b"\x08\x96",
            b"\x12\x03ab",
            b"\x19\x01",
            b"\x25\x01",
            b"\x00\x00",
            b"\x0b",
            b"\x0c",
            b"\x0f\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(field(&mut &broken[..]), None, "{broken:?}");
        }
        let nanos = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(field(&mut &nanos[..]), Some((2, Value::Integer(u64::MAX))));
    }
}
