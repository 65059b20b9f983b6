use std::collections::BTreeMap;

use super::*;
use crate::encode::{Encoder, Fields, Tail};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// A message as a plain reader of the encoding sees it: each field with its content, in order.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = message.split_first().expect("one more byte");
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)),
            2 => {
                let length = varint(&mut message) as usize;
                let (content, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(content)
            }
            other => panic!("type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn content<'a>(message: &[(u64, Value<'a>)], field: u64) -> Vec<&'a [u8]> {
    let of = |(number, value): &(u64, Value<'a>)| match value {
        Value::Bytes(bytes) if *number == field => Some(*bytes),
        _ => None,
    };
    message.iter().filter_map(of).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[derive(Debug, PartialEq)]
struct Seen {
    labels: String,
    nanos: i64,
    line: String,
    metadata: BTreeMap<String, String>,
}

fn seen(request: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    for stream in content(&fields(request), 1) {
        let stream = fields(stream);
        for entry in content(&stream, 2) {
            let entry = fields(entry);
            let time = fields(content(&entry, 1)[0]);
            let part = |field| {
                time.iter().find_map(|(number, value)| match value {
                    Value::Number(value) if *number == field => Some(*value as i64),
                    _ => None,
                })
            };
            let pairs = content(&entry, 3);
            all.push(Seen {
                labels: text(content(&stream, 1)[0]),
                nanos: part(1).unwrap_or(0) * NANOS_PER_SECOND + part(2).unwrap_or(0),
                line: text(content(&entry, 2)[0]),
                metadata: pairs
                    .iter()
                    .map(|pair| {
                        let pair = fields(pair);
                        (text(content(&pair, 1)[0]), text(content(&pair, 2)[0]))
                    })
                    .collect(),
            });
        }
    }
    all
}

fn container(labels: &[(&str, &str)]) -> Container {
    Container {
        id: ContainerId::new("abc"),
        name: "web".into(),
        image: "nginx:1.27".into(),
        labels: labels.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
    }
}

/// What Loki is sent of one line.
fn sent(loki: &Loki, container: Container, line: &[u8], time: i64, truncated: bool, repeated: u32) -> (Seen, bool) {
    let container = std::sync::Arc::new(container);
    let line = Line {
        time: Time(time),
        stream: Stream::Stderr,
        bytes: line,
        truncated,
        escaped: None,
    };
    let tail = Tail::new(&container, "", &Fields::new(&[], &[]).unwrap());
    let mut record = Vec::new();
    let span = Encoder::default().encode(&line, None, &tail, &mut record);
    let mut out = Vec::new();
    let entry = Entry {
        container: &container,
        host: "node-1",
        time: line.time,
        stream: line.stream,
        text: &record,
        span,
        truncated,
        repeated,
    };
    let group = loki.begin(&entry, &mut out);
    let is_cut = loki.add(&entry, &mut out);
    loki.end(group, &mut out);
    let mut seen = seen(&out);
    assert_eq!(seen.len(), 1);
    (seen.remove(0), is_cut)
}

fn loki(max_line_bytes: usize) -> Loki {
    use LokiField::*;
    Loki::new(&[Host, Project, Container], &[Id, Image, Stream], max_line_bytes)
}

#[test]
fn an_entry_has_labels_time_line_and_metadata() {
    let project = [("com.docker.compose.project", "shop")];
    let (seen, is_cut) = sent(
        &loki(1000),
        container(&project),
        b"a \"quoted\"\tline",
        1_795_187_098_662_848_374,
        false,
        0,
    );
    assert!(!is_cut);
    assert_eq!(seen.labels, r#"{container="web", host="node-1", project="shop"}"#);
    assert_eq!(seen.nanos, 1_795_187_098_662_848_374);
    assert_eq!(seen.line, "a \"quoted\"\tline");
    let metadata = [("id", "abc"), ("image", "nginx:1.27"), ("stream", "stderr")];
    assert_eq!(
        seen.metadata,
        metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    // Without a project there is no label of it.
    let (seen, _) = sent(&loki(1000), container(&[]), b"", -1, false, 0);
    assert_eq!(seen.labels, r#"{container="web", host="node-1"}"#);
    assert_eq!((seen.nanos, seen.line.as_str()), (-1, ""));
}

#[test]
fn a_label_is_written_as_go_reads_it_and_is_not_too_long() {
    let project = format!("a\"b\\c\nd\u{1}\u{e4}{}", "\u{e4}".repeat(VALUE));
    let (seen, _) = sent(
        &loki(1000),
        container(&[("com.docker.compose.project", &project)]),
        b"x",
        0,
        false,
        0,
    );
    let expected = r#"project="a\"b\\c\nd\x01ä"#;
    assert!(seen.labels.contains(expected), "{}", &seen.labels[..120]);
    assert!(seen.labels.len() < VALUE + 100);
}

#[test]
fn what_is_not_utf_8_comes_in_base64_and_says_so() {
    let (seen, _) = sent(&loki(1000), container(&[]), b"\xff\xfe", 0, false, 0);
    assert_eq!(seen.line, "//4=");
    assert_eq!(seen.metadata["encoding"], "base64");
}

#[test]
fn a_line_that_is_too_long_is_cut_at_a_character_and_marked() {
    let (seen, is_cut) = sent(&loki(7), container(&[]), "äääää".as_bytes(), 0, false, 0);
    assert!(is_cut);
    assert_eq!(
        (seen.line.as_str(), seen.metadata["truncated"].as_str()),
        ("äää", "true")
    );
    let (seen, is_cut) = sent(&loki(10), container(&[]), "äääää".as_bytes(), 0, false, 0);
    assert!(!is_cut && !seen.metadata.contains_key("truncated"));
    // Whole groups of Base64 are left.
    let (seen, is_cut) = sent(&loki(7), container(&[]), &[0xff; 9], 0, false, 0);
    assert!(is_cut);
    assert_eq!(seen.line, "////");
    let (seen, is_cut) = sent(&loki(7), container(&[]), b"short", 0, true, 0);
    assert!(!is_cut);
    assert_eq!(seen.metadata["truncated"], "true");
}

#[test]
fn an_equal_line_of_the_same_time_differs_in_its_number() {
    let number = |repeated| {
        sent(&loki(99), container(&[]), b"x", 0, false, repeated)
            .0
            .metadata
            .remove("seq")
    };
    assert_eq!(number(0), None);
    assert_eq!(number(1).as_deref(), Some("1"));
    assert_eq!(number(u32::MAX).as_deref(), Some("4294967295"));
}
