//! What the tests of several files of delivery need.

use std::sync::Arc;

use super::batch::Records;
use crate::encode::{Encoder, Fields, Tail};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// A line on standard output: its container, its time and its text.
#[derive(Clone, Copy)]
pub(super) struct Written<'a>(pub &'a str, pub i64, pub &'a str);

pub(super) fn tail(name: &str) -> Tail {
    let container = Container {
        id: ContainerId::new(&format!("id-of-{name}")),
        name: name.to_owned(),
        image: "image".to_owned(),
        labels: Default::default(),
    };
    Tail::new(&Arc::new(container), "host", &Fields::new(&[], &[]).unwrap())
}

pub(super) fn line(time: i64, text: &str) -> Line<'_> {
    Line {
        time: Time(time),
        stream: Stream::Stdout,
        bytes: text.as_bytes(),
        truncated: false,
        escaped: None,
    }
}

pub(super) fn records(written: &[Written<'_>]) -> Records {
    let (mut records, mut encoder) = (Records::default(), Encoder::default());
    for Written(name, time, text) in written {
        records.push(&mut encoder, &line(*time, text), None, &tail(name));
    }
    records
}
