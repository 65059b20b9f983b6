//! A log response's body to lines: transfer coding, framing, and the merging of a long line's parts.

use std::mem::discriminant;

use arbitrary::Unstructured;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::Offset;
use log_capturer::decode::Chunked;
use log_capturer::decode::DecodeError;
use log_capturer::decode::{Decoder, Transfer};
use log_capturer::record::{Line, Stream, Time};

use crate::parts::{End, Got, Id, Message, PART, Parts};
use crate::{Cuts, assert_same, below, coin, within};

/// More than any input here has.
const ENDLESS: usize = 1 << 20;

/// Decodes a body, cut anywhere, and compares the lines with a plain model.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    match below(&mut source, 4) {
        0 => any_bytes(&cuts, source.take_rest()),
        1 => any_frames(&cuts, &mut source),
        2 => messages(&cuts, &mut source),
        _ => of_a_tty(&cuts, &mut source),
    }
}

/// Wherever they are cut, they are the same lines, or the same refusal.
fn any_bytes(cuts: &Cuts, wire: &[u8]) {
    for transfer in [until_close, chunked, of_length] {
        let whole = decode(transfer(), &[wire], ENDLESS);
        let cut = decode(transfer(), &cuts.apply(wire), ENDLESS);
        assert_same(&cut.0, &whole.0);
        // The words may show less of what was refused.
        assert_eq!(
            cut.1.as_ref().map_err(discriminant),
            whole.1.as_ref().map_err(discriminant),
            "{cuts:?} of {wire:?}"
        );
        endless(transfer(), wire);
    }
}

/// Bytes as the payload of frames, of which each begins with a time, or none does.
fn any_frames(cuts: &Cuts, source: &mut Unstructured<'_>) {
    let mut wire = Vec::new();
    let timed = coin(source);
    while !source.is_empty() {
        let kind = below(source, 4) as u8;
        let length = below(source, 80).min(source.len());
        let text = source.bytes(length).unwrap_or_default();
        let stamp = if timed { stamp(source).0 } else { String::new() };
        wire.extend(frame(kind, &[stamp.as_bytes(), text].concat()));
    }
    any_bytes(cuts, &wire);
}

/// What the engine sends, against what it means.
fn messages(cuts: &Cuts, source: &mut Unstructured<'_>) {
    let max = 1 + below(source, 100);
    let is_chunked = coin(source);
    let mut wire = Vec::new();
    let mut parts = Parts::new(max, false);
    while !source.is_empty() {
        let stream = Stream::ALL[below(source, 2)];
        let (stamp, time) = stamp(source);
        let length = below(source, 60).min(source.len());
        let mut text = source.bytes(length).unwrap_or_default().to_vec();
        if below(source, 64) == 1 {
            text.resize(PART - below(source, 2), b'x');
        }
        let message = frame(1 + stream as u8, &[stamp.as_bytes(), &text].concat());
        if is_chunked {
            wire.extend(format!("{:x}\r\n", message.len()).bytes());
            wire.extend([&message[..], b"\r\n"].concat());
        } else {
            wire.extend(message);
        }

        let end = if text.pop_if(|last| *last == b'\n').is_some() {
            End::Line
        } else {
            End::Unknown
        };
        parts.take(Message {
            time,
            stream,
            text,
            end,
            id: Id::Unknown,
        });
    }
    if is_chunked {
        wire.extend(b"0\r\n\r\n");
    }
    let wanted = parts.finish();
    let transfer = || if is_chunked { chunked() } else { until_close() };
    for pieces in [vec![&wire[..]], cuts.apply(&wire)] {
        let (got, end) = decode(transfer(), &pieces, max);
        assert_same(&got, &wanted);
        assert_eq!(end, Ok(true), "{cuts:?} of {wire:?}");
    }
}

/// A terminal's lines, of which none is as long as to come in parts.
fn of_a_tty(cuts: &Cuts, source: &mut Unstructured<'_>) {
    let mut wire = Vec::new();
    let mut wanted = Vec::new();
    while !source.is_empty() {
        let (stamp, time) = stamp(source);
        let length = below(source, 60).min(source.len());
        let mut text = source.bytes(length).unwrap_or_default().to_vec();
        // A `Z` could end a time: those are for `any_bytes`.
        text.retain(|byte| !b"\nZ".contains(byte));
        wire.extend([stamp.as_bytes(), &text, b"\r\n"].concat());
        wanted.push((time, Stream::Stdout, text, false));
    }
    for pieces in [vec![&wire[..]], cuts.apply(&wire)] {
        let (got, end) = decode(until_close(), &pieces, ENDLESS);
        assert_same(&got, &wanted);
        assert_eq!(end, Ok(true), "{cuts:?} of {wire:?}");
    }
}

/// Whatever came, and however much comes behind it, little is held.
fn endless(transfer: Transfer, wire: &[u8]) {
    const MAX: usize = 1_000;
    let filler = [b'x'; 4 * 1024];
    within(40 * 1024, || {
        let mut decoder = Decoder::new(transfer, MAX);
        let mut refused = decoder.feed(wire, &mut |_| ()).is_err();
        for _ in 0..64 {
            refused = refused || decoder.feed(&filler, &mut |_| ()).is_err();
        }
        // Nobody feeds on what was refused, but nobody is hurt by it.
        let _ = decoder.finish(&mut |_| ());
    });
}

fn decode(transfer: Transfer, pieces: &[&[u8]], max: usize) -> (Vec<Got>, Result<bool, DecodeError>) {
    let mut decoder = Decoder::new(transfer, max);
    let mut got = Vec::new();
    let mut out = |line: Line<'_>| got.push((line.time, line.stream, line.bytes.to_vec(), line.truncated));
    let mut fed = pieces.iter().try_for_each(|piece| decoder.feed(piece, &mut out));
    let is_complete = decoder.is_complete();
    if fed.is_ok() {
        fed = decoder.finish(&mut out);
    }
    (got, fed.map(|()| is_complete))
}

/// A time as an engine may write it, with its space.
fn stamp(source: &mut Unstructured<'_>) -> (String, Time) {
    // Few of them, so that some are equal.
    let nanos = 1_795_187_098_000_000_000 + [0, 1, 500_000_000, 662_848_374][below(source, 4)];
    let time = jiff::Timestamp::from_nanosecond(nanos.into()).expect("a time of this century");
    let text = match below(source, 4) {
        // Podman: zeros at the end are left out, and the zone can be another.
        0 => time.to_string(),
        1 => DateTimePrinter::new()
            .precision(Some(9))
            .timestamp_with_offset_to_string(&time, Offset::constant(2)),
        _ => format!("{time:.9}"),
    };
    (text + " ", Time(nanos))
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind, 0, 0, 0], &length[..], payload].concat()
}

fn until_close() -> Transfer {
    Transfer::UntilClose
}

fn chunked() -> Transfer {
    Transfer::Chunked(Chunked::default())
}

fn of_length() -> Transfer {
    Transfer::Length(50)
}
