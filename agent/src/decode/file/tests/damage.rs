//! What a power loss, a full disk or somebody's hand leaves in a file.

use super::*;

/// A record of each format.
fn record(format: Format, nanos: u32, text: &str) -> Vec<u8> {
    let seconds = "2026-11-20T15:04:58";
    match format {
        Format::JsonFile => {
            format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{seconds}.{nanos:09}Z\"}}\n").into_bytes()
        }
        Format::K8sFile => format!("{seconds}.{nanos:09}+00:00 stdout F {text}\n").into_bytes(),
        Format::Local => {
            let mut time = Vec::new();
            let mut left = 1_795_187_098_000_000_000 + u64::from(nanos);
            while left > 0x7f {
                time.push(left as u8 | 0x80);
                left >>= 7;
            }
            time.push(left as u8);
            let length = u8::try_from(text.len()).expect("a short text");
            let entry = [b"\x0a\x06stdout\x10", &time[..], &[0x1a, length], text.as_bytes()].concat();
            let length = u32::try_from(entry.len()).expect("a short record").to_be_bytes();
            [&length[..], &entry, &length].concat()
        }
    }
}

const FORMATS: [Format; 3] = [Format::JsonFile, Format::Local, Format::K8sFile];

/// Three sound records with this between the first and the second, wherever it is cut. Gives the damage.
fn between(format: Format, damage: &[u8]) -> Vec<(u64, u64)> {
    let [one, two, three] = ["one", "two", "three"].map(|text| record(format, 1, text));
    let file = [&one[..], damage, &two, &three].concat();
    let decoded = whole(format, &file);
    assert_eq!(decoded.texts(), ["one", "two", "three"], "{format:?}");
    assert_eq!(decoded.records, 3);
    for cut in 0..file.len() {
        let decoded_cut = decode(&mut FileDecoder::new(format, MAX, false), &file, [cut]);
        assert_eq!(decoded_cut, decoded, "{format:?} cut at {cut}");
    }
    let every = decode(&mut FileDecoder::new(format, MAX, false), &file, 0..file.len());
    assert_eq!(every, decoded, "{format:?} byte by byte");
    let at = one.len() as u64;
    decoded
        .damage()
        .iter()
        .map(|(offset, bytes)| (offset - at, *bytes))
        .collect()
}

#[test]
fn a_run_of_nuls_is_skipped_and_the_record_behind_it_is_not() {
    for format in FORMATS {
        for length in [1, 3, 4, 7, 8, 9, 64, 500] {
            assert_eq!(between(format, &vec![0; length]), [(0, length as u64)], "{format:?}");
        }
    }
}

#[test]
fn half_a_record_is_skipped_when_the_engine_goes_on_behind_it() {
    for format in FORMATS {
        let lost = record(format, 2, "lost");
        // Only the next record's start tells where one without a line feed at its end is over.
        for length in 1..lost.len() {
            if format == Format::K8sFile && length > 43 {
                break;
            }
            let damage = between(format, &lost[..length]);
            assert_eq!(damage, [(0, length as u64)], "{format:?} at {length}");
        }
    }
}

#[test]
fn garbage_is_skipped_whatever_is_in_it() {
    let garbage: [&[u8]; 7] = [
        b"\n\n\n",
        b"no record\n",
        b"\xff\xfe\x00\x01 {\"log\":\n}\n",
        b"{\"log\":\"x\\n\",\"stream\":\"stdin\",\"time\":\"2026-11-20T15:04:58Z\"}\n",
        b"{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"yesterday\"}\n",
        b"2026-11-20T15:04:58Z stdout X x\n2026-11-20T15:04:58Z stdin F x\nyesterday stdout F x\n",
        b"\x00\x00\x00\x10\x0a\x06stdout\x0a\x06stderr\x00\x00\x00\x10",
    ];
    for format in FORMATS {
        for garbage in garbage {
            assert_eq!(
                between(format, garbage),
                [(0, garbage.len() as u64)],
                "{format:?} {garbage:?}"
            );
        }
    }
}

#[test]
fn a_wrong_byte_costs_one_record() {
    for format in FORMATS {
        let sound = record(format, 3, "changed text");
        let text = sound
            .windows(7)
            .position(|window| window == b"changed")
            .expect("its text");
        for at in (0..sound.len()).filter(|at| !(text..text + 12).contains(at)) {
            let mut changed = sound.clone();
            changed[at] = 0;
            let file = [record(format, 1, "one"), changed, record(format, 4, "two")].concat();
            let decoded = whole(format, &file);
            let lines = decoded.texts();
            assert!(
                lines.first().is_some_and(|line| line == "one"),
                "{format:?} at {at}: {lines:?}"
            );
            assert!(
                lines.last().is_some_and(|line| line.ends_with("two")),
                "{format:?} at {at}: {lines:?}"
            );
            let bytes: u64 = decoded.damage().iter().map(|(_, bytes)| bytes).sum();
            assert!(bytes <= sound.len() as u64, "{format:?} at {at}: {bytes} bytes");
            assert!(
                lines.len() + decoded.damaged.len() >= 3 || format == Format::K8sFile,
                "{format:?} at {at}: {lines:?}"
            );
        }
    }
}

#[test]
fn a_record_with_nuls_in_its_text_is_none() {
    let sound = record(Format::JsonFile, 1, "abcdefghijklmnopqrstuvwxyz");
    let mut holed = sound.clone();
    holed[15..25].fill(0);
    assert_eq!(between(Format::JsonFile, &holed), [(0, sound.len() as u64)]);
}

#[test]
fn what_the_end_of_a_file_lacks_is_told_when_the_file_is_over() {
    for format in FORMATS {
        let (one, half) = (record(format, 1, "one"), record(format, 2, "two"));
        let cut = if format == Format::K8sFile { 20 } else { half.len() - 3 };
        let file = [&one[..], &half[..cut]].concat();
        let mut decoder = FileDecoder::new(format, MAX, false);
        let mut found = Decoded::default();
        let mut scratch = Vec::new();
        let fed = decoder.feed(0, &file, &mut scratch, &mut |item| found.take(item));
        assert_eq!((fed.bytes, fed.records), (one.len(), 1), "{format:?}");
        assert_eq!(found.damaged, [], "the rest may be on its way");
        decoder.end_file(fed.bytes as u64, &file[fed.bytes..], &mut scratch, &mut |item| {
            found.take(item)
        });
        assert_eq!(found.damage(), [(one.len() as u64, cut as u64)], "{format:?}");
        // The next file is another one.
        let next = record(format, 3, "three");
        decoder.feed(0, &next, &mut scratch, &mut |item| found.take(item));
        assert_eq!(found.texts(), ["one", "three"], "{format:?}");
    }
}

#[test]
fn a_last_record_that_lacks_its_line_feed_is_one() {
    for format in [Format::JsonFile, Format::K8sFile] {
        let file = [record(format, 1, "one"), record(format, 2, "two")].concat();
        let decoded = whole(format, &file[..file.len() - 1]);
        assert_eq!(
            (decoded.texts(), decoded.damage()),
            (vec!["one".into(), "two".into()], vec![]),
            "{format:?}"
        );
    }
}

#[test]
fn an_edited_record_is_sound_in_any_form() {
    let edited = r#" { "time" : "2026-11-20T17:04:58.5+02:00", "stream":"stderr", "x":[{}], "log":"\u0061\/b\n" }"#;
    let decoded = whole(Format::JsonFile, format!("{edited}\r\n").as_bytes());
    let wanted = (1_795_187_098_500_000_000, Stream::Stderr, b"a/b".to_vec(), false);
    assert_eq!((decoded.lines, decoded.damaged), (vec![wanted], vec![]));
}

#[test]
fn the_engines_escapes_and_all_others() {
    let texts = [
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (
            r"\u0000\u001F\u007f\u00e9\u2028\uFFFD\uffff",
            "\0\u{1f}\u{7f}é\u{2028}\u{fffd}\u{ffff}",
        ),
        (r"\ud83d\ude00 \uD83D\uDE00", "😀 😀"),
        (r"\ud83d", "\u{fffd}"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ude00\ud83d\ude00", "\u{fffd}😀"),
        (r"\ud83d\u0041", "\u{fffd}A"),
        (r"\ud83d\\ude00", "\u{fffd}\\ude00"),
    ];
    for (escaped, text) in texts {
        for before in 0..20 {
            let x = "x".repeat(before);
            let file = record(Format::JsonFile, 1, &format!("{x}{escaped}{x}"));
            assert_eq!(whole(Format::JsonFile, &file).texts(), [format!("{x}{text}{x}")]);
        }
    }
    for broken in [r"\x", r"\u12g4", r"\u123", r"\ud83d\u12", "\t", "\u{1}", "a\"b"] {
        let file = record(Format::JsonFile, 1, broken);
        assert_eq!(
            whole(Format::JsonFile, &file).damage(),
            [(0, file.len() as u64)],
            "{broken:?}"
        );
    }
}
