//! Lines and records that are long, and lines that go on from file to file.

use super::*;
use crate::decode::LONGEST;
use crate::record::Time;

#[test]
fn a_part_that_is_full_goes_on_with_another_time_and_another_does_not() {
    let record = |text: &str, end: &str, nanos: u32| {
        format!("{{\"log\":\"{text}{end}\",\"stream\":\"stdout\",\"time\":\"2026-11-20T15:04:58.{nanos:09}Z\"}}\n")
    };
    let full = "a".repeat(16_384);
    let file = [
        record(&full, "", 1),
        record("tail", "\\n", 2),
        record("half", "", 3),
        record("next", "\\n", 4),
    ];
    let decoded = whole(Format::JsonFile, file.concat().as_bytes());
    assert_eq!(decoded.texts(), [full + "tail", "half".into(), "next".into()]);
}

#[test]
fn a_line_goes_on_in_the_next_file() {
    let part = format!(
        "{{\"log\":\"{}\",\"stream\":\"stderr\",\"time\":\"2026-11-20T15:04:58.5Z\"}}\n",
        "a".repeat(16_384)
    );
    let end = "{\"log\":\"b\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-20T15:04:58.5Z\"}\n";
    let mut decoder = FileDecoder::new(Format::JsonFile, MAX, false);
    let (mut found, mut scratch) = (Decoded::default(), Vec::new());
    let mut out = |item: Found<'_>| found.take(item);
    let fed = decoder.feed(0, part.as_bytes(), &mut scratch, &mut out);
    decoder.end_file(fed.bytes as u64, b"", &mut scratch, &mut out);
    assert_eq!(decoder.pending_since(), Some(Time(1_795_187_098_500_000_000)));
    decoder.feed(0, end.as_bytes(), &mut scratch, &mut out);
    assert_eq!(decoder.pending_since(), None);
    assert_eq!(found.texts(), ["a".repeat(16_384) + "b"]);
}

#[test]
fn a_long_line_is_cut_in_every_format() {
    let max = 20;
    for tty in [false, true] {
        let cr = if tty { "\\r" } else { "" };
        let record = |text: &str| {
            format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-11-20T15:04:58.5Z\"}}\n").into_bytes()
        };
        let file = [
            record(&format!("{}{cr}\\n", "x".repeat(20))),
            record(&format!("{}{cr}\\n", "y".repeat(21))),
            record(&"z".repeat(10)),
            record(&format!("{}{cr}\\n", "z".repeat(10))),
            record(&"p".repeat(10)),
            record(&format!("{}{cr}\\n", "p".repeat(11))),
            record(&"q".repeat(19)),
            record("qqqqqqqqqq"),
            record(&format!("{cr}\\n")),
        ];
        let decoded = decode(&mut FileDecoder::new(Format::JsonFile, max, tty), &file.concat(), []);
        let lines: Vec<_> = decoded
            .lines
            .iter()
            .map(|line| (line.2[0], line.2.len(), line.3))
            .collect();
        let wanted = [(b'x', false), (b'y', true), (b'z', false), (b'p', true), (b'q', true)];
        assert_eq!(lines, wanted.map(|(byte, cut)| (byte, 20, cut)), "with tty {tty}");
    }
}

#[test]
fn the_parts_of_a_local_line_are_told_by_their_id() {
    let record = |text: &[u8], partial: Option<(&[u8], bool)>| {
        let mut entry = [b"\x0a\x06stdout\x10\x01\x1a", &[text.len() as u8][..], text].concat();
        if let Some((id, last)) = partial {
            let mut metadata = if last { vec![8, 1] } else { vec![] };
            metadata.extend([&[0x12, id.len() as u8][..], id, &[0x18, 1]].concat());
            entry.extend([&[0x20, 1, 0x2a, metadata.len() as u8][..], &metadata].concat());
        }
        // Attributes, as newer engines write them.
        entry.extend(b"\x32\x06\x0a\x01k\x12\x01v");
        let length = (entry.len() as u32).to_be_bytes();
        [&length[..], &entry, &length].concat()
    };
    let file = [
        record(b"a", Some((b"1", false))),
        record(b"b", Some((b"1", false))),
        record(b"c", Some((b"1", true))),
        // Two that never got their ends, although all times are equal.
        record(b"d", Some((b"2", false))),
        record(b"e", Some((b"3", false))),
        record(b"f", None),
        record(b"", None),
        record(b"g", Some((b"4", false))),
    ];
    assert_eq!(
        whole(Format::Local, &file.concat()).texts(),
        ["abc", "d", "e", "f", "", "g"]
    );
}

#[test]
fn a_record_without_end_is_no_reason_to_wait() {
    for format in [Format::JsonFile, Format::Local] {
        let head: &[u8] = match format {
            Format::JsonFile => b"{\"log\":\"",
            _ => b"\x00\x0f\xff\xff\x0a\x06stdout\x10\x01\x1a",
        };
        let sound: &[u8] = match format {
            Format::JsonFile => b"{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-20T15:04:58.5Z\"}\n",
            _ => b"\x00\x00\x00\x0d\x0a\x06stdout\x10\x01\x1a\x01x\x00\x00\x00\x0d",
        };
        let endless = [head, &vec![b'x'; 3 * LONGEST], sound].concat();
        let mut decoder = FileDecoder::new(format, MAX, false);
        let (mut found, mut scratch, mut from) = (Decoded::default(), Vec::new(), 0);
        // An owner with a buffer of this size.
        while from < endless.len() {
            let input = &endless[from..(from + LONGEST).min(endless.len())];
            let fed = decoder.feed(from as u64, input, &mut scratch, &mut |item| found.take(item));
            assert!(fed.bytes > 0, "{format:?} stands still at {from}");
            from += fed.bytes;
        }
        assert_eq!(found.texts(), ["x"], "{format:?}");
        assert_eq!(
            found.damage(),
            [(0, (endless.len() - sound.len()) as u64)],
            "{format:?}"
        );
        assert!(scratch.capacity() <= 2 * LONGEST);
    }
}

#[test]
fn a_cri_record_may_be_longer_than_any_buffer() {
    let text = vec![b'x'; 2 * LONGEST + 77];
    let time = b"2026-11-20T15:04:58.5Z stdout ";
    let file = [
        &time[..],
        b"F ",
        &text,
        b"\n",
        time,
        b"P a\n",
        time,
        b"F b\n",
        time,
        b"F:tag c\n",
        time,
        b"F\n",
    ]
    .concat();
    let mut decoder = FileDecoder::new(Format::K8sFile, MAX, false);
    let (mut found, mut scratch, mut from, mut records) = (Decoded::default(), Vec::new(), 0, 0);
    while from < file.len() {
        let input = &file[from..(from + LONGEST).min(file.len())];
        let fed = decoder.feed(from as u64, input, &mut scratch, &mut |item| found.take(item));
        assert!(fed.bytes > 0, "it stands still at {from}");
        from += fed.bytes;
        records += fed.records;
    }
    assert_eq!((found.lines[0].2.len(), found.lines[0].3), (MAX, true));
    assert_eq!(found.texts()[1..], ["ab", "c", ""]);
    assert_eq!((records, found.damaged), (5, vec![]));
}
