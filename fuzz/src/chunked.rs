//! The chunked transfer coding.

use arbitrary::Unstructured;
use log_capturer::decode::Chunked;

use crate::{Cuts, below, coin, within};

#[derive(Debug, PartialEq)]
struct Decoded {
    body: Vec<u8>,
    /// `None`: it was refused.
    done: Option<bool>,
    /// Bytes behind the end, of which nothing was taken.
    left: usize,
}

/// Decodes a body, cut anywhere, and compares what comes out with what was put in.
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
    match model(&wire) {
        Ok((body, rest)) => {
            let wanted = Decoded {
                body,
                done: Some(true),
                left: rest.len(),
            };
            assert_eq!(whole, wanted, "{wire:?}");
        }
        Err(Broken::BareCr) => assert_eq!(whole.done, None, "{wire:?}"),
        Err(Broken::Other) => {}
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

/// Why there is no body to compare.
enum Broken {
    /// It must be refused (RFC 9112, section 2.2).
    BareCr,
    /// The grammar is broken in another way, which some bear with, or the body is not whole.
    Other,
}

/// RFC 9112, section 7.1: the body, and what is behind it.
fn model(mut wire: &[u8]) -> Result<(Vec<u8>, &[u8]), Broken> {
    let mut body = Vec::new();
    loop {
        let size = line(&mut wire)?.split(|byte| *byte == b';').next();
        let size = size.and_then(|size| str::from_utf8(size).ok()).ok_or(Broken::Other)?;
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) || size.len() > 16 {
            return Err(Broken::Other);
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| Broken::Other)?;
        if size == 0 {
            while !line(&mut wire)?.is_empty() {}
            return Ok((body, wire));
        }
        body.extend(wire.get(..size).ok_or(Broken::Other)?);
        wire = wire[size..].strip_prefix(b"\r\n").ok_or(Broken::Other)?;
    }
}

fn line<'a>(wire: &mut &'a [u8]) -> Result<&'a [u8], Broken> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n").ok_or(Broken::Other)?;
    let line = &wire[..end];
    *wire = &wire[end + 2..];
    if line.contains(&b'\n') {
        // It ends a line for some, and not for others.
        return Err(Broken::Other);
    }
    if line.contains(&b'\r') {
        return Err(Broken::BareCr);
    }
    Ok(line)
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
