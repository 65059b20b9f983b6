//! The chunked transfer coding.

use arbitrary::Unstructured;
use log_capturer::engine::chunked::Chunked;

use crate::{Cuts, below, coin, within};

#[derive(Debug, PartialEq)]
struct Decoded {
    body: Vec<u8>,
    /// `None`: it was refused.
    done: Option<bool>,
    /// Bytes behind the end, of which nothing was taken.
    left: usize,
}

pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    let wire = if coin(&mut source) {
        well_formed(&mut source)
    } else {
        source.take_rest().to_vec()
    };
    let whole = decode(&[&wire]);
    assert_eq!(decode(&cuts.apply(&wire)), whole, "{cuts:?} of {wire:?}");
    if let Some((body, rest)) = model(&wire) {
        let wanted = Decoded {
            body,
            done: Some(true),
            left: rest.len(),
        };
        assert_eq!(whole, wanted, "{wire:?}");
    }
    // It lends, and keeps nothing.
    within(0, || {
        feed(&[&wire], |_| ());
    });
}

fn decode(pieces: &[&[u8]]) -> Decoded {
    let mut body = Vec::new();
    let (done, left) = feed(pieces, |data| body.extend_from_slice(data));
    Decoded { body, done, left }
}

fn feed(pieces: &[&[u8]], mut take: impl FnMut(&[u8])) -> (Option<bool>, usize) {
    let mut chunked = Chunked::default();
    let mut left = 0;
    for mut piece in pieces.iter().copied() {
        loop {
            match chunked.next(&mut piece) {
                Ok(Some(data)) => take(data),
                Ok(None) => break,
                // How much was taken by then is not told.
                Err(_) => return (None, 0),
            }
        }
        assert!(piece.is_empty() || chunked.is_done(), "input is left over");
        left += piece.len();
    }
    (Some(chunked.is_done()), left)
}

/// RFC 9112, section 7.1: the body, and what is behind it. `None` where the grammar is broken or the body not whole.
fn model(mut wire: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let size = line(&mut wire)?.split(|byte| *byte == b';').next()?;
        let is_size = size.iter().all(u8::is_ascii_hexdigit) && size.len() <= 16;
        let size = str::from_utf8(size).ok().filter(|_| is_size)?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            while !line(&mut wire)?.is_empty() {}
            return Some((body, wire));
        }
        body.extend(wire.get(..size)?);
        wire = wire[size..].strip_prefix(b"\r\n")?;
    }
}

fn line<'a>(wire: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &wire[..end];
    *wire = &wire[end + 2..];
    // A line feed by itself ends a line for some, and not for others, and a bare CR is nothing (RFC 9112, section 2.2): the
    // grammar has neither.
    (!line.iter().any(|byte| matches!(byte, b'\r' | b'\n'))).then_some(line)
}

fn well_formed(source: &mut Unstructured<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..below(source, 6) {
        let length = 1 + below(source, 40);
        let data: Vec<u8> = (0..length).map(|_| source.arbitrary().unwrap_or_default()).collect();
        let size = if coin(source) {
            format!("{length:04X};a=b")
        } else {
            format!("{length:x}")
        };
        wire.extend([size.as_bytes(), b"\r\n", &data, b"\r\n"].concat());
    }
    let trailer = if coin(source) { "A: b\r\n" } else { "" };
    wire.extend(format!("0\r\n{trailer}\r\n").bytes());
    wire.extend(source.bytes(source.len()).unwrap_or_default());
    wire
}
