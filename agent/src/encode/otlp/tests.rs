use std::sync::Arc;

use super::*;
use crate::encode::{Encoder, Fields, Tail};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// What is sent of one line, as bytes.
fn sent(line: &[u8], time: i64, repeated: u32, max_line_bytes: usize) -> (Vec<u8>, bool) {
    let service = ("com.docker.compose.service".to_owned(), "shop".to_owned());
    let container = Arc::new(Container {
        id: ContainerId::new("abc"),
        name: "web".into(),
        image: "registry:5000/nginx:1.27".into(),
        labels: [service].into(),
    });
    let line = Line {
        time: Time(time),
        stream: Stream::Stderr,
        bytes: line,
        truncated: false,
        escaped: None,
    };
    let tail = Tail::new(&container, "", &Fields::new(&[], &[]).unwrap());
    let mut record = Vec::new();
    let span = Encoder::default().encode(&line, None, &tail, &mut record);
    let entry = Entry {
        container: &container,
        host: "node-1",
        time: line.time,
        stream: line.stream,
        text: &record,
        span,
        truncated: false,
        repeated,
    };
    let (otlp, mut out) = (Otlp::new(max_line_bytes), Vec::new());
    let group = otlp.begin(&entry, &mut out);
    let is_cut = otlp.add(&entry, &mut out);
    otlp.end(group, &mut out);
    (out, is_cut)
}

/// A field of a message, as the encoding's documentation describes it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut length = content.len();
    let mut out = vec![number << 3 | 2];
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [out, content.to_vec()].concat()
}

fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

fn text(value: &str) -> Vec<u8> {
    field(1, value.as_bytes())
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, value)].concat()
}

#[test]
fn a_record_has_a_resource_a_time_a_body_and_attributes() {
    let (out, is_cut) = sent(b"a \"quoted\" line", 1_795_187_098_662_848_374, 0, 1000);
    assert!(!is_cut);
    let tag = field(5, &field(1, &text("1.27")));
    for attribute in [
        pair("container.id", &text("abc")),
        pair("container.name", &text("web")),
        pair("container.image.name", &text("registry:5000/nginx")),
        pair("container.image.tags", &tag),
        pair("host.name", &text("node-1")),
        pair("service.name", &text("shop")),
    ] {
        assert!(holds(&out, &field(1, &attribute)), "{attribute:?}");
    }
    assert!(holds(&out, &field(6, &pair("log.iostream", &text("stderr")))));
    assert!(holds(&out, &field(5, &text("a \"quoted\" line"))));
    let time = 1_795_187_098_662_848_374_u64.to_le_bytes();
    assert!(holds(&out, &[&[0x09], &time[..]].concat()) && holds(&out, &[&[0x59], &time[..]].concat()));
    assert!(!holds(&out, b"truncated"));
}

#[test]
fn what_is_not_utf_8_goes_as_the_bytes_that_it_is() {
    let (out, _) = sent(b"\xff\xfe\x00", 0, 0, 1000);
    assert!(holds(&out, &field(5, &field(7, b"\xff\xfe\x00"))));
}

#[test]
fn a_line_that_is_too_long_is_cut_at_a_character_and_marked() {
    let truncated = field(6, &pair("log_capturer.truncated", &[2 << 3, 1]));
    let (out, is_cut) = sent("ääää".as_bytes(), 0, 0, 7);
    assert!(is_cut && holds(&out, &field(5, &text("äää"))) && holds(&out, &truncated));
    let (out, is_cut) = sent(&[0xff; 9], 0, 0, 7);
    assert!(is_cut && holds(&out, &field(5, &field(7, &[0xff; 7]))));
    let (out, is_cut) = sent(&[0xff; 7], 0, 0, 7);
    assert!(!is_cut && !holds(&out, &truncated));
}

#[test]
fn a_record_has_the_same_id_whenever_it_is_sent_and_no_other_record_has_it() {
    let uid = |line, time, repeated| {
        let (out, _) = sent(line, time, repeated, 1);
        let key = b"log.record.uid";
        let at = out.windows(key.len()).position(|window| window == key).unwrap();
        out[at + key.len() + 4..][..UID].to_vec()
    };
    let one = uid(b"one", 0x1234, 0);
    assert!(one.starts_with(b"0000000000001234"), "{one:?}");
    assert_eq!(one, uid(b"one", 0x1234, 0));
    // The whole line counts, also what is cut off.
    for other in [uid(b"other", 0x1234, 0), uid(b"one", 0x1235, 0), uid(b"one", 0x1234, 1)] {
        assert_ne!(one, other);
    }
}

#[test]
fn an_image_has_a_name_and_perhaps_a_tag() {
    for (image, expected) in [
        ("nginx", ("nginx", None)),
        ("nginx:1.27", ("nginx", Some("1.27"))),
        ("registry:5000/shop/web", ("registry:5000/shop/web", None)),
        ("registry:5000/web:2@sha256:abc", ("registry:5000/web", Some("2"))),
        ("web@sha256:abc", ("web", None)),
        ("sha256:abc", ("sha256:abc", None)),
    ] {
        assert_eq!(image_and_tag(image), expected, "{image}");
    }
}
