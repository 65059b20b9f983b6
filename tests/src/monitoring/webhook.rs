//! Whom an Alertmanager tells of its alerts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

/// What an alert does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// What was told of one alert.
#[derive(Debug, Clone, Deserialize)]
pub struct Notice {
    /// Whether it fires.
    pub status: Status,
    /// Its labels, with `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Message {
    alerts: Vec<Notice>,
}

/// A server on loopback, for the life of the test.
pub(super) struct Webhook {
    address: SocketAddr,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Webhook {
    /// One that listens.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        let address = listener.local_addr().expect("its address");
        let notices = Arc::default();
        let shared = Arc::clone(&notices);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notices = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &notices));
            }
        });
        Self { address, notices }
    }

    /// Where it is to be told.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All that it was told, the oldest first.
    pub(super) fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The messages of one connection.
fn serve(stream: TcpStream, notices: &Mutex<Vec<Notice>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let message = message(&mut reader)?;
        notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(message.alerts);
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}

fn message(reader: &mut impl BufRead) -> Option<Message> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
