//! What the programs report arrives in the agent's log, and nothing is reported unasked.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{Fixture, Options, fixture_with, inode, options};

/// What `tracing` wrote while a connection came and went.
fn reported(debug: bool) -> Option<(Fixture, String, String)> {
    let fixture = fixture_with(&Options { debug, ..options() })?;
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let (client, _server) = fixture.pair();
    let name = format!("socket:[{}]", inode(&client));
    drop(client);
    tracing::subscriber::with_default(subscriber, || fixture.kernel.forward_log());
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    Some((fixture, name, text))
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn reported_when_asked_for() {
    let Some((_fixture, name, text)) = reported(true) else {
        return;
    };
    let line = |what: &str| {
        text.lines()
            .find(|line| line.contains(what) && line.contains(&name))
            .unwrap_or_default()
    };
    assert!(line("connected").contains("DEBUG log_capturer::kernel::bpf"), "{text}");
    assert!(line("closed").contains("TRACE log_capturer::kernel::bpf"), "{text}");
}

#[test]
fn silent_otherwise() {
    let Some((_fixture, _, text)) = reported(false) else {
        return;
    };
    assert_eq!(text, "");
}
