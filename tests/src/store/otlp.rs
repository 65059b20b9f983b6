//! A stand-in for an OpenTelemetry collector. It decodes requests with the project's own published definitions.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::{Answer, Fault, Head, Keeps, Server};

/// A server on loopback.
pub type Collector = Server<Kept>;

/// One record, as the collector was sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The attributes of its resource.
    pub resource: BTreeMap<String, Value>,
    /// The name of its scope.
    pub scope: String,
    /// Since 1970.
    pub nanos: u64,
    /// When it was observed, since 1970.
    pub observed: u64,
    /// The line: a text, or bytes.
    pub body: Value,
    /// Its own.
    pub attributes: BTreeMap<String, Value>,
}

/// What it keeps.
#[derive(Default)]
pub struct Kept {
    records: Vec<Record>,
    complaints: Vec<String>,
}

impl Record {
    /// The line, as the container wrote it.
    pub fn line(&self) -> &[u8] {
        match &self.body {
            Value::StringValue(text) => text.as_bytes(),
            Value::BytesValue(bytes) => bytes,
            other => panic!("a body that is no line: {other:?}"),
        }
    }

    /// Whether the line came as bytes.
    pub fn is_bytes(&self) -> bool {
        matches!(self.body, Value::BytesValue(_))
    }

    /// One that is a text, of the resource or of the record.
    pub fn attribute(&self, key: &str) -> &str {
        match self.resource.get(key).or(self.attributes.get(key)) {
            Some(Value::StringValue(text)) => text,
            other => panic!("{key} is {other:?}"),
        }
    }
}

impl Collector {
    /// What it has kept, repeats as well, in the order of its arrival.
    pub fn records(&self) -> Vec<Record> {
        self.kept(|kept| kept.records.clone())
    }

    /// How many records it has kept.
    pub fn count(&self) -> usize {
        self.kept(|kept| kept.records.len())
    }

    /// The lines of one container, in the order of their arrival.
    pub fn lines(&self, container: &str) -> Vec<String> {
        let of = |record: &&Record| record.attribute("container.name") == container;
        let text = |record: &Record| String::from_utf8_lossy(record.line()).into_owned();
        self.kept(|kept| kept.records.iter().filter(of).map(text).collect())
    }

    /// What no collector could have read.
    pub fn complaints(&self) -> Vec<String> {
        self.kept(|kept| kept.complaints.clone())
    }
}

impl Keeps for Kept {
    const PATH: &'static str = "/v1/logs";
    const BODY: usize = 4 << 20;

    fn keep(&mut self, head: &Head, body: &[u8], fault: &Fault) -> Answer {
        let records = match records(head, body) {
            Ok(records) => records,
            Err(error) => {
                self.complain(format!("{error:#}"));
                return Answer::new(400, format!("{error:#}"));
            }
        };
        let is = |record: &Record, line: &String| record.line() == line.as_bytes();
        let mut response = ExportLogsServiceResponse::default();
        match fault {
            Fault::Refuse(line) if records.iter().any(|record| is(record, line)) => {
                // A `google.rpc.Status`: 3 is INVALID_ARGUMENT.
                return Answer::new(400, &b"\x08\x03\x12\x0dno such record"[..]);
            }
            Fault::Reject(line) => {
                let before = records.len();
                let others = records.into_iter().filter(|record| !is(record, line));
                let start = self.records.len();
                self.records.extend(others);
                let rejected = before - (self.records.len() - start);
                response.partial_success = Some(ExportLogsPartialSuccess {
                    rejected_log_records: rejected as i64,
                    error_message: "not that one".to_owned(),
                });
            }
            _ => self.records.extend(records),
        }
        Answer::new(200, response.encode_to_vec())
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }
}

fn records(head: &Head, body: &[u8]) -> anyhow::Result<Vec<Record>> {
    let mut plain = Vec::new();
    match head.header("content-encoding") {
        Some("gzip") => GzDecoder::new(body).read_to_end(&mut plain).context("gzip")?,
        None => {
            plain.extend_from_slice(body);
            body.len()
        }
        Some(other) => anyhow::bail!("encoded as {other}"),
    };
    let request = ExportLogsServiceRequest::decode(plain.as_slice())?;
    let mut found = Vec::new();
    for of_resource in request.resource_logs {
        let resource = attributes(of_resource.resource.context("no resource")?.attributes)?;
        for of_scope in of_resource.scope_logs {
            let scope = of_scope.scope.context("no scope")?.name;
            for record in of_scope.log_records {
                found.push(read(record, &resource, &scope)?);
            }
        }
    }
    ensure!(!found.is_empty(), "a request without a record");
    Ok(found)
}

fn read(record: LogRecord, resource: &BTreeMap<String, Value>, scope: &str) -> anyhow::Result<Record> {
    Ok(Record {
        resource: resource.clone(),
        scope: scope.to_owned(),
        nanos: record.time_unix_nano,
        observed: record.observed_time_unix_nano,
        body: value(record.body).context("no body")?,
        attributes: attributes(record.attributes)?,
    })
}

fn attributes(pairs: Vec<KeyValue>) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for KeyValue { key, value: any, .. } in pairs {
        let value = value(any).with_context(|| format!("{key} has no value"))?;
        ensure!(found.insert(key.clone(), value).is_none(), "{key} twice");
    }
    Ok(found)
}

fn value(any: Option<AnyValue>) -> Option<Value> {
    any.and_then(|any| any.value)
}
