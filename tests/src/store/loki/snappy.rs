//! Snappy's block format, by its published description: nothing of it is shared with what the agent compresses with.

use anyhow::{Context, ensure};

/// Decompresses a block.
pub(super) fn decompress(mut block: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = varint(&mut block)? as usize;
    let mut out = Vec::with_capacity(length);
    while !block.is_empty() {
        let tag = usize::from(take(&mut block, 1)?[0]);
        let (length, offset) = match tag & 3 {
            0 => {
                let short = tag >> 2;
                let length = match short {
                    60..=63 => little_endian(take(&mut block, short - 59)?),
                    _ => short,
                };
                out.extend_from_slice(take(&mut block, length + 1)?);
                continue;
            }
            1 => (
                4 + (tag >> 2 & 7),
                (tag >> 5) << 8 | little_endian(take(&mut block, 1)?),
            ),
            2 => (1 + (tag >> 2), little_endian(take(&mut block, 2)?)),
            _ => (1 + (tag >> 2), little_endian(take(&mut block, 4)?)),
        };
        ensure!(offset > 0 && offset <= out.len(), "a copy from before the beginning");
        // It may overlap with what it writes.
        for _ in 0..length {
            out.push(out[out.len() - offset]);
        }
    }
    ensure!(out.len() == length, "{} bytes instead of {length}", out.len());
    Ok(out)
}

/// A number of which each byte has seven bits, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a number of more than 64 bits")
}

pub(super) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).context("it ends too early")?;
    *bytes = rest;
    Ok(taken)
}

fn little_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | usize::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies() {
        assert_eq!(decompress(b"\x00").unwrap(), b"");
        assert_eq!(decompress(b"\x05\x10hello").unwrap(), b"hello");
        // "ab", and four more bytes from two bytes before, by each of the first two kinds of copies.
        assert_eq!(decompress(b"\x06\x04ab\x01\x02").unwrap(), b"ababab");
        assert_eq!(decompress(b"\x06\x04ab\x0e\x02\x00").unwrap(), b"ababab");
        for bad in [&b"\x05\x10hell"[..], b"\x04\x10hello", b"\x06\x04ab\x01\x03", b""] {
            assert!(decompress(bad).is_err(), "{bad:?}");
        }
    }
}
