//! The frames of a multiplexed stream.

use arbitrary::Unstructured;
use log_capturer::decode::{Frames, Kind};

use crate::{Cuts, below, coin, within};

/// Each frame's kind, payload as far as it has come, and whether that is all of it.
type Decoded = Vec<(Kind, Vec<u8>, bool)>;

/// What is behind the last of them: `None` what is no frame, else whether nothing has begun.
type Rest = Option<bool>;

/// Decodes frames, cut anywhere, and compares them with a plain model.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    let mut wire = Vec::new();
    for _ in 0..below(&mut source, 8) {
        let length = if coin(&mut source) { below(&mut source, 40) } else { 0 };
        wire.extend([below(&mut source, 4) as u8, 0, 0, 0, 0, 0, 0, length as u8]);
        wire.extend((0..length).map(|_| source.arbitrary::<u8>().unwrap_or_default()));
    }
    wire.extend(source.take_rest());
    let wanted = model(&wire);
    assert_eq!(decode(&[&wire]), wanted, "{wire:?}");
    assert_eq!(decode(&cuts.apply(&wire)), wanted, "{cuts:?} of {wire:?}");
    within(0, || {
        feed(&[&wire], |_, _, _, _| ());
    });
}

fn decode(pieces: &[&[u8]]) -> (Decoded, Rest) {
    let mut decoded: Decoded = Vec::new();
    let rest = feed(pieces, |kind, bytes, starts, ends| {
        if starts {
            decoded.push((kind, Vec::new(), false));
        }
        let frame = decoded.last_mut().expect("a frame has begun");
        assert!(frame.0 == kind && !frame.2, "it goes on with another");
        frame.1.extend_from_slice(bytes);
        frame.2 = ends;
    });
    (decoded, rest)
}

fn feed(pieces: &[&[u8]], mut take: impl FnMut(Kind, &[u8], bool, bool)) -> Rest {
    let mut frames = Frames::default();
    for mut piece in pieces.iter().copied() {
        while let Some(part) = frames.next(&mut piece).ok()? {
            take(part.kind, part.bytes, part.starts_frame, part.ends_frame);
        }
        assert!(piece.is_empty(), "input is left over");
    }
    Some(frames.at_boundary())
}

fn model(mut wire: &[u8]) -> (Decoded, Rest) {
    let mut decoded = Vec::new();
    while wire.len() >= 8 {
        let kind = match wire[..4] {
            [0, 0, 0, 0] => Kind::Stdin,
            [1, 0, 0, 0] => Kind::Stdout,
            [2, 0, 0, 0] => Kind::Stderr,
            [3, 0, 0, 0] => Kind::SystemError,
            _ => return (decoded, None),
        };
        let length = u32::from_be_bytes([wire[4], wire[5], wire[6], wire[7]]) as usize;
        let there = length.min(wire.len() - 8);
        let is_whole = there == length;
        if is_whole || there > 0 {
            decoded.push((kind, wire[8..8 + there].to_vec(), is_whole));
        }
        if !is_whole {
            return (decoded, Some(false));
        }
        wire = &wire[8 + length..];
    }
    (decoded, Some(wire.is_empty()))
}
