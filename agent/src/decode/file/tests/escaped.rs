//! Text that is lent with its escapes, so that nobody makes them anew.

use super::*;

/// What the first line of these texts is lent with, as it stands in the file.
fn escaped(texts: &[&str], max: usize, tty: bool) -> Option<String> {
    let record = |text| format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-11-20T15:04:58Z\"}}\n");
    let file: String = texts.iter().map(record).collect();
    let mut escaped = Vec::new();
    let mut decoder = FileDecoder::new(Format::JsonFile, max, tty);
    decoder.feed(0, file.as_bytes(), &mut Vec::new(), &mut |found| {
        if let Found::Line(line) = found {
            escaped.push(line.escaped.map(|text| String::from_utf8_lossy(text).into_owned()));
        }
    });
    assert_eq!(escaped.len(), 1, "{texts:?}");
    escaped.pop().flatten()
}

#[test]
fn a_whole_line_is_lent_with_its_escapes() {
    for text in [
        "",
        "plain",
        "größe",
        r#"\"q\" \\ \/ \r \t"#,
        r"\u003ca\u003e\u0026\u0009\u0000\u007F",
        r"a\\",
    ] {
        assert_eq!(escaped(&[&format!("{text}\\n")], MAX, false).as_deref(), Some(text));
    }
}

#[test]
fn escapes_that_no_record_has_are_not_lent() {
    for text in [
        r"\b",
        r"\f",
        r"\u00e9",
        r"\u2028",
        r"\ufffd",
        r"\ud83d\ude00",
        r"\ud83d",
    ] {
        assert_eq!(escaped(&[&format!("a{text}\\n")], MAX, false), None, "{text}");
    }
    // The line feed is not at the end of what would be lent.
    assert_eq!(escaped(&[r"a\u000a"], MAX, false), None);
}

#[test]
fn a_line_that_is_changed_is_not_lent_with_them() {
    assert_eq!(escaped(&["abcd\\n"], 3, false), None, "cut");
    assert_eq!(escaped(&["part", "end\\n"], MAX, false), None, "in parts");
    assert_eq!(escaped(&["a\\r\\n"], MAX, true).as_deref(), Some("a"));
    assert_eq!(escaped(&[r"a\u000d\n"], MAX, true), None);
    assert_eq!(escaped(&[r"a\\r\n"], MAX, true).as_deref(), Some(r"a\\r"));
}
