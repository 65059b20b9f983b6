//! Files of real containers, and what the engine's API gave for the same ones.

use super::*;

/// Expands `<78*16384>`, a run of that many bytes 0x78: no sample needs all of its long lines.
fn expand(mut packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((&first, rest)) = packed.split_first() {
        let run = run(rest).filter(|_| first == b'<');
        let Some((unit, count, length)) = run else {
            bytes.push(first);
            packed = rest;
            continue;
        };
        bytes.extend(unit.repeat(count));
        packed = &rest[length..];
    }
    bytes
}

/// The unit of a run, how often it comes, and the length of what says so.
fn run(text: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let length = text.iter().position(|&byte| byte == b'>')?;
    let (digits, count) = std::str::from_utf8(&text[..length]).ok()?.split_once('*')?;
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let unit: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    Some((unit?, count.parse().ok()?, length + 1))
}

/// Decodes a sample, all at once and as it grows, and is read at any moment.
fn sample(format: Format, file: &[u8], tty: bool) -> Decoded {
    let file = expand(file);
    let decode = |cuts: Vec<usize>| decode(&mut FileDecoder::new(format, MAX, tty), &file, cuts);
    let decoded = decode(vec![]);
    assert_eq!(decoded.damaged, []);
    let ends = memchr::memchr2_iter(b'\n', b'}', &file);
    let mut near_ends: Vec<_> = ends
        .flat_map(|end| end.saturating_sub(3)..(end + 3).min(file.len()))
        .collect();
    near_ends.sort_unstable();
    assert!(decode(near_ends) == decoded);
    for step in [997, 4_999] {
        assert!(decode((0..file.len()).step_by(step).collect()) == decoded);
    }
    decoded
}

/// What the API decoder makes of the answer to a request for the log.
fn by_api(body: &[u8]) -> Vec<Got> {
    let mut lines = Vec::new();
    let mut out = |line: Line<'_>| lines.push(got(&line));
    let mut decoder = Decoder::new(Transfer::UntilClose, MAX);
    decoder.feed(&expand(body), &mut out).expect("a log");
    decoder.finish(&mut out).expect("a log");
    lines
}

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../samples/", $name))
    };
}

/// Names the first line that differs, by its start.
fn assert_same(got: &[Got], wanted: &[Got]) {
    for (number, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let start = |line: &Got| String::from_utf8_lossy(&line.2[..line.2.len().min(40)]).into_owned();
        assert!(
            got == wanted,
            "{number}: {} {:?}, and by the API {} {:?}",
            got.0,
            start(got),
            wanted.0,
            start(wanted)
        );
    }
    assert_eq!(got.len(), wanted.len());
}

#[test]
fn a_json_file_has_the_lines_of_the_api() {
    let decoded = sample(Format::JsonFile, sample!("json-file-mixed.file"), false);
    assert_same(&decoded.lines, &by_api(sample!("json-file-mixed.api")));
    assert_eq!(decoded.records, 56);
    let texts = decoded.texts();
    assert_eq!(
        texts[2],
        "tab\there \"q\" back\\slash <a href=x>&amp; \u{1}\u{2}\u{1b}[31m bell\u{7} del\u{7f}\r"
    );
    assert_eq!(texts[4], "größe 漢 😀 \u{2028} \u{2029} \u{fffd}");
    assert_eq!(texts[5], "\u{fffd}\u{fffd} bad \u{fffd}\u{fffd}");
    assert_eq!(texts[7..9], ["ends in backslash\\", "ends in backslash n\\n"]);
}

#[test]
fn a_local_file_has_the_lines_of_the_api() {
    let decoded = sample(Format::Local, sample!("local-mixed.file"), false);
    assert_same(&decoded.lines, &by_api(sample!("local-mixed.api")));
    assert_eq!(decoded.lines[5].2, b"\xff\xfe bad \xe6\xbc");
}

#[test]
fn a_terminals_lines_are_those_of_the_api() {
    let json = sample(Format::JsonFile, sample!("json-file-tty.file"), true);
    assert_same(&json.lines, &by_api(sample!("json-file-tty.api")));
    let local = sample(Format::Local, sample!("local-tty.file"), true);
    assert_same(&local.lines, &by_api(sample!("local-tty.api")));
    let texts = json.texts();
    assert_eq!(texts[..4], ["plain", "err", "", "a\rb"]);
    // Its CR is a byte too many for the first part.
    assert_eq!(texts[5], "z".repeat(16_383));
}

#[test]
fn attributes_change_nothing() {
    let decoded = sample(Format::JsonFile, sample!("json-file-attrs.file"), false);
    assert_same(&decoded.lines, &by_api(sample!("json-file-attrs.api")));
    assert_eq!(decoded.texts(), ["two", "one", "\"q\"", "half"]);
}

#[test]
fn podmans_parts_are_one_line_however_far_apart_they_are() {
    let decoded = sample(Format::K8sFile, sample!("k8s-file-mixed.file"), false);
    let x = "x".repeat(20_000);
    let long = format!("{x}end");
    let run = [
        "plain",
        "",
        "tab\there\u{1} \r",
        "\u{fffd}\u{fffd} bad",
        "nul\0in",
        "err",
        &long,
        "configuring... done",
    ];
    let mut wanted = run.to_vec();
    // A line that never got its end goes on in the next run of the container: nothing tells them apart.
    wanted.extend(["b", "no endplain"]);
    wanted.extend(&run[1..5]);
    wanted.extend([
        "err no enderr",
        &long,
        "configuring... done",
        "b",
        "no end",
        "err no end",
    ]);
    assert_eq!(decoded.texts(), wanted);
    // 46.155904310 s, the time of the first part.
    assert_eq!(decoded.lines[6].0, 1_795_813_786_155_904_310);
    assert_eq!(decoded.records, 30);
}

#[test]
fn podmans_terminal_ends_its_lines_like_dockers() {
    let decoded = sample(Format::K8sFile, sample!("k8s-file-tty.file"), true);
    let x = "x".repeat(20_000);
    let long = format!("{x}end");
    let texts = decoded.texts();
    assert_eq!(texts[..4], ["plain", "err", "", "tab\there\u{1} \r"]);
    assert_eq!(texts[6..9], [&long, "configuring... done", "b"]);
    assert_eq!(texts[9], "no enderr no endplain");
}
