use super::*;
use crate::config::Field;
use serde_json::{Value, json};

fn container(labels: &[(&str, &str)]) -> Arc<Container> {
    Arc::new(Container {
        id: ContainerId::new("abc"),
        name: "we\"b".into(),
        image: "nginx:1.27".into(),
        labels: labels.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
    })
}

fn tail() -> Tail {
    let all = Fields::new(&["*".to_owned()], &[]).unwrap();
    Tail::new(&container(&[("a.b", "c\nd")]), "node-1", &all)
}

/// The container of a record.
fn shown(labels: &[(&str, &str)], chosen: &[&str], fields: &[Field]) -> Value {
    let chosen: Vec<_> = chosen.iter().map(|&text| text.to_owned()).collect();
    let tail = Tail::new(&container(labels), "", &Fields::new(&chosen, fields).unwrap());
    let record = [b"{\"a\":0", &tail.text[..]].concat();
    serde_json::from_slice::<Value>(&record).unwrap()["container"].take()
}

#[test]
fn labels_and_fields_are_chosen() {
    let labels = [
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", "web"),
        ("com.docker.compose.container-number", "2"),
        ("tier", "front"),
    ];
    let both = [Field::Compose, Field::Swarm];
    assert_eq!(shown(&labels, &["*"], &[])["labels"].as_object().unwrap().len(), 4);
    assert_eq!(shown(&labels, &["*"], &[]).get("compose"), None);
    assert_eq!(
        shown(&labels, &["ti*", "other"], &[])["labels"],
        json!({"tier": "front"})
    );
    assert_eq!(
        shown(&labels, &["regex:^com\\..*service$"], &[])["labels"],
        json!({"com.docker.compose.service": "web"})
    );
    let compose = shown(&labels, &[], &both);
    assert_eq!(compose["labels"], json!({}));
    assert_eq!(
        compose["compose"],
        json!({"project": "shop", "service": "web", "number": "2"})
    );
    assert_eq!(compose.get("swarm"), None);

    let labels = [
        ("com.docker.swarm.service.name", "shop_web"),
        ("com.docker.stack.namespace", "shop"),
    ];
    let swarm = shown(&labels, &[], &both);
    assert_eq!(swarm["swarm"], json!({"stack": "shop", "service": "shop_web"}));
    assert_eq!(swarm.get("compose"), None);
}

#[test]
fn labels_that_do_not_fit_are_left_out_the_longest_first() {
    let [long, longer] = [ROOM / 2, ROOM / 2 + 1].map(|length| "x".repeat(length));
    let labels = [("a", longer.as_str()), ("b", long.as_str()), ("tier", "front")];
    assert_eq!(
        shown(&labels, &["*"], &[])["labels"],
        json!({"b": long, "tier": "front"})
    );
    assert_eq!(shown(&labels, &["a"], &[])["labels"], json!({"a": longer}));
    // Each of its bytes takes six.
    let escaped = "\u{1}".repeat(ROOM / 5);
    let labels = [("a", escaped.as_str()), ("tier", "front")];
    assert_eq!(shown(&labels, &["*"], &[])["labels"], json!({"tier": "front"}));
}

#[test]
fn compose_and_swarm_have_the_same_bound_and_come_first() {
    let long = "x".repeat(ROOM);
    let labels = [
        ("com.docker.compose.project", long.as_str()),
        ("com.docker.compose.service", "web"),
        ("com.docker.swarm.node.id", &long),
    ];
    let both = [Field::Compose, Field::Swarm];
    let container = shown(&labels, &[], &both);
    assert_eq!(container["compose"], json!({"service": "web"}));
    assert_eq!(container.get("swarm"), None);

    let project = "x".repeat(ROOM - 10);
    let labels = [("com.docker.compose.project", project.as_str()), ("tier", "front")];
    let container = shown(&labels, &["*"], &both);
    assert_eq!(container["compose"], json!({"project": project}));
    assert_eq!(container["labels"], json!({}));
}

#[test]
fn no_record_takes_more_than_its_bytes_of_the_log_can_grow_to() {
    let control = [1; 1000];
    for labels in [vec![], vec![("a", "b")], vec![("a", "\u{1}\u{2}")]] {
        let tail = Tail::new(
            &container(&labels),
            "node-1",
            &Fields::new(&["*".to_owned()], &[]).unwrap(),
        );
        for bytes in [&b""[..], b"x", b"\xff", &control, &[0xff; 1000]] {
            let line = Line {
                time: Time(0),
                stream: Stream::Stderr,
                bytes,
                truncated: true,
                escaped: None,
            };
            let mut out = Vec::new();
            Encoder::default().encode(&line, Some(u32::MAX), &tail, &mut out);
            let most = (SHORTEST + bytes.len()) * tail.growth();
            assert!(out.len() <= most, "{} of {most}", out.len());
        }
    }
}

fn encode(bytes: &[u8], truncated: bool) -> Value {
    let line = Line {
        time: Time(1_795_187_098_062_848_374),
        stream: Stream::Stderr,
        bytes,
        truncated,
        escaped: None,
    };
    let mut out = Vec::new();
    Encoder::default().encode(&line, None, &tail(), &mut out);
    assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
    assert_eq!(out.last(), Some(&b'\n'));
    let decoded = Decoded::from_json(&out).unwrap();
    assert_eq!(decoded.bytes, bytes);
    assert_eq!((decoded.time, decoded.stream), (line.time, line.stream));
    assert_eq!((decoded.container.as_str(), decoded.truncated), ("abc", truncated));
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn the_shape_is_the_contracts() {
    let want = json!({
        "ts": "2026-11-20T15:04:58.062848374Z",
        "stream": "stderr",
        "line": "x",
        "container": {
            "id": "abc", "name": "we\"b", "image": "nginx:1.27", "labels": {"a.b": "c\nd"}
        },
        "host": "node-1"
    });
    assert_eq!(encode(b"x", false), want);
}

/// With dots; what the labels' own keys are is the container's matter.
fn paths(value: &Value, prefix: &str, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        if key != "labels" {
            paths(value, &format!("{path}."), found);
        }
        found.push(path);
    }
}

#[test]
fn the_reference_names_every_field() {
    let labels = [
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", "web"),
        ("com.docker.compose.container-number", "2"),
        ("com.docker.stack.namespace", "shop"),
        ("com.docker.swarm.service.name", "shop_web"),
        ("com.docker.swarm.task.name", "shop_web.1"),
        ("com.docker.swarm.node.id", "n"),
    ];
    let fields = Fields::new(&["*".to_owned()], &[Field::Compose, Field::Swarm]).unwrap();
    let tail = Tail::new(&container(&labels), "node-1", &fields);
    let page = include_str!("../../../../docs/reference/record.md");
    let mut found = Vec::new();
    for bytes in [&b"text"[..], b"\xff"] {
        let line = Line {
            time: Time(0),
            stream: Stream::Stdout,
            bytes,
            truncated: true,
            escaped: None,
        };
        let mut out = Vec::new();
        Encoder::default().encode(&line, Some(2), &tail, &mut out);
        paths(&serde_json::from_slice(&out).unwrap(), "", &mut found);
    }
    assert!(found.len() > 30, "{found:?}");
    for path in found {
        assert!(page.contains(&format!("| `{path}` |")), "no {path} in the reference");
    }
}

#[test]
fn every_byte_survives() {
    for length in 0..100 {
        for byte in 0..=127_u8 {
            let mut bytes = vec![b'x'; length];
            bytes.insert(length / 2, byte);
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert_eq!(encode(&bytes, false)["line"], Value::String(text));
        }
    }
    let text = "größe 漢字 \u{1f600} \u{2028}";
    assert_eq!(encode(text.as_bytes(), false)["line"], text);

    let record = encode(b"\xff\xfe half \xe6\xbc", true);
    assert_eq!(record.get("line"), None);
    let decoded = STANDARD.decode(record["line_base64"].as_str().unwrap());
    assert_eq!(decoded.unwrap(), b"\xff\xfe half \xe6\xbc");
    assert_eq!(record["truncated"], true);
}

#[test]
fn a_line_that_comes_with_its_escapes_keeps_them() {
    let line = Line {
        time: Time(0),
        stream: Stream::Stdout,
        bytes: b"<\"\t\0/\\",
        truncated: false,
        escaped: Some(br#"\u003c\"\u0009\u0000\/\\"#),
    };
    let mut out = Vec::new();
    let span = Encoder::default().encode(&line, None, &tail(), &mut out);
    assert_eq!(span.of(&out), line.escaped.unwrap());
    let mut text = Vec::new();
    span.append_line(&out, &mut text);
    assert_eq!(text, line.bytes);
    assert_eq!(Decoded::from_json(&out).unwrap().bytes, line.bytes);
    // Bytes that are not UTF-8 have no JSON string, whatever comes with them.
    let line = Line {
        bytes: b"\xff",
        escaped: Some(b"\xff"),
        ..line
    };
    out.clear();
    Encoder::default().encode(&line, None, &tail(), &mut out);
    assert_eq!(Decoded::from_json(&out).unwrap().bytes, line.bytes);
}

#[test]
fn a_record_of_several_lines_tells_how_many() {
    let line = Line {
        time: Time(0),
        stream: Stream::Stdout,
        bytes: b"a\n b",
        truncated: false,
        escaped: None,
    };
    let mut out = Vec::new();
    Encoder::default().encode(&line, Some(2), &tail(), &mut out);
    let record: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&record["line"], &record["lines"]), (&json!("a\n b"), &json!(2)));
    let decoded = Decoded::from_json(&out).unwrap();
    assert_eq!((decoded.lines, decoded.line().bytes), (Some(2), line.bytes));
}

#[test]
fn seconds_change() {
    let mut encoder = Encoder::default();
    let mut text = |nanos| {
        let mut out = Vec::new();
        encoder.time(nanos, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(text(999_999_999), "1970-01-01T00:00:00.999999999Z");
    assert_eq!(text(1_000_000_001), "1970-01-01T00:00:01.000000001Z");
    assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
}
