//! A record as one JSON object on one line; the shape is promised to users.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::fields::{Compose, Fields, Swarm};
use crate::escape::{BLOCK, clean_bytes, clean_prefix};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// Bytes that a container's labels may have together.
const LABELS: usize = 16 * 1024;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What all records of one container end with: made once, not once a line.
#[derive(Clone, Debug)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// Labels that together are longer than [`LABELS`] are left out: every record would bear them.
    pub fn new(container: &Container, host: &str, fields: &Fields) -> Self {
        let mut labels = fields.labels(container);
        let length: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        if length > LABELS {
            warn!(
                container = container.name,
                length,
                limit = LABELS,
                "its labels are too long, and are left out"
            );
            labels.clear();
        }
        #[derive(Serialize)]
        struct Shown<'a> {
            container: Named<'a>,
            host: &'a str,
        }
        #[derive(Serialize)]
        struct Named<'a> {
            id: &'a str,
            name: &'a str,
            image: &'a str,
            labels: BTreeMap<&'a str, &'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            compose: Option<Compose<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            swarm: Option<Swarm<'a>>,
        }
        let shown = Shown {
            container: Named {
                id: container.id.as_str(),
                name: &container.name,
                image: &container.image,
                labels,
                compose: fields.compose(container),
                swarm: fields.swarm(container),
            },
            host,
        };
        // Strings and maps of strings: there is nothing in them that could fail.
        let mut text = serde_json::to_vec(&shown).unwrap_or_default();
        text.push(b'\n');
        if let Some(brace) = text.first_mut() {
            *brace = b',';
        }
        Self(text)
    }
}

/// Writes records. Keeps the last second that it wrote, in digits.
#[derive(Debug, Default)]
pub struct Encoder {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Encoder {
    /// Appends one record to `out`; `lines` tells how many were put together, where that is done.
    pub fn encode(&mut self, line: &Line<'_>, lines: Option<u32>, tail: &Tail, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        self.time(line.time.0, out);
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(line.stream.as_str().as_bytes());
        if std::str::from_utf8(line.bytes).is_ok() {
            out.extend_from_slice(b"\",\"line\":\"");
            escape(line.bytes, out);
        } else {
            out.extend_from_slice(b"\",\"line_base64\":\"");
            base64(line.bytes, out);
        }
        out.push(b'"');
        if line.truncated {
            out.extend_from_slice(b",\"truncated\":true");
        }
        if let Some(lines) = lines {
            // A Vec takes all that is written.
            let _ = write!(out, ",\"lines\":{lines}");
        }
        out.extend_from_slice(&tail.0);
    }

    fn time(&mut self, nanos: i64, out: &mut Vec<u8>) {
        let second = nanos.div_euclid(NANOS_PER_SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            // Always written as UTC, without a fraction when that is zero.
            let _ = write!(self.text, "{time}");
            self.text.truncate("2026-11-20T15:04:58".len());
        }
        out.extend_from_slice(&self.text);
        let mut digits = *b".000000000Z";
        let mut rest = nanos.rem_euclid(NANOS_PER_SECOND);
        for digit in digits[1..10].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// What a record says, read back from its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    pub container: ContainerId,
    pub time: Time,
    pub stream: Stream,
    pub bytes: Vec<u8>,
    pub truncated: bool,
    /// Of a record that was put together from lines, how many; line feeds are between them.
    pub lines: Option<u32>,
}

impl Decoded {
    pub fn line(&self) -> Line<'_> {
        Line {
            time: self.time,
            stream: self.stream,
            bytes: &self.bytes,
            truncated: self.truncated,
        }
    }

    /// `None` for what is no record of this program's.
    pub fn from_json(record: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Shown {
            ts: String,
            stream: String,
            line: Option<String>,
            line_base64: Option<String>,
            #[serde(default)]
            truncated: bool,
            lines: Option<u32>,
            container: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let shown: Shown = serde_json::from_slice(record).ok()?;
        let bytes = match (shown.line, shown.line_base64) {
            (Some(line), _) => line.into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).ok()?,
            (None, None) => return None,
        };
        let time: jiff::Timestamp = shown.ts.parse().ok()?;
        Some(Self {
            container: ContainerId::new(&shown.container.id),
            time: Time(i64::try_from(time.as_nanosecond()).ok()?),
            stream: Stream::ALL.into_iter().find(|stream| stream.as_str() == shown.stream)?,
            bytes,
            truncated: shown.truncated,
            lines: shown.lines,
        })
    }
}

/// Appends valid UTF-8 as the inside of a JSON string (RFC 8259, section 7).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean_prefix(text);
    out.extend_from_slice(&text[..clean]);
    let mut text = &text[clean..];
    // Where there is one to be escaped, the next is often near: a block is copied whole, and what must not stand so is
    // taken back.
    while let Some(block) = text.first_chunk() {
        out.extend_from_slice(block);
        let clean = clean_bytes(block);
        if clean < BLOCK {
            out.truncate(out.len() - (BLOCK - clean));
            escape_byte(block[clean], out);
            text = &text[clean + 1..];
        } else {
            text = &text[BLOCK..];
        }
    }
    for byte in text {
        match clean_prefix(&[*byte]) {
            0 => escape_byte(*byte, out),
            _ => out.push(*byte),
        }
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        control => {
            let (high, low) = (HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]);
    out.truncate(from + written.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Field;
    use serde_json::{Value, json};

    fn container(labels: &[(&str, &str)]) -> Container {
        Container {
            id: ContainerId::new("abc"),
            name: "we\"b".into(),
            image: "nginx:1.27".into(),
            labels: labels.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        }
    }

    fn tail() -> Tail {
        let all = Fields::new(&["*".to_owned()], &[]).unwrap();
        Tail::new(&container(&[("a.b", "c\nd")]), "node-1", &all)
    }

    /// The container of a record.
    fn shown(labels: &[(&str, &str)], chosen: &[&str], fields: &[Field]) -> Value {
        let chosen: Vec<_> = chosen.iter().map(|&text| text.to_owned()).collect();
        let tail = Tail::new(&container(labels), "", &Fields::new(&chosen, fields).unwrap());
        let record = [b"{\"a\":0", &tail.0[..]].concat();
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
    fn labels_that_are_too_long_are_left_out_unless_others_are_chosen() {
        let long = "x".repeat(LABELS);
        let labels = [("long", long.as_str()), ("tier", "front")];
        assert_eq!(shown(&labels, &["*"], &[])["labels"], json!({}));
        assert_eq!(shown(&labels, &["tier"], &[])["labels"], json!({"tier": "front"}));
    }

    fn encode(bytes: &[u8], truncated: bool) -> Value {
        let line = Line {
            time: Time(1_795_187_098_062_848_374),
            stream: Stream::Stderr,
            bytes,
            truncated,
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
    fn a_record_of_several_lines_tells_how_many() {
        let line = Line {
            time: Time(0),
            stream: Stream::Stdout,
            bytes: b"a\n b",
            truncated: false,
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
}
