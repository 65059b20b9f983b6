//! The fields of a protobuf message, where they lie.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Integer(u64),
    /// A string, bytes or another message.
    Bytes(&'a [u8]),
    /// Of a type that no message here has.
    Other,
}

/// Takes the next field off a message: its number and value. `None` for what is no field.
pub fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(message)?;
    let value = match tag & 7 {
        0 => Value::Integer(varint(message)?),
        1 => {
            take(message, 8)?;
            Value::Other
        }
        2 => {
            let length = usize::try_from(varint(message)?).ok()?;
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

/// An integer, seven bits a byte, the lowest first.
fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
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
