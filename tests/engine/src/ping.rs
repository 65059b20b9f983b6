//! Is there an engine behind a socket?

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// `GET /_ping`: an error says what was there instead of an engine.
pub fn ping(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    let patience = Some(Duration::from_secs(2));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    // HTTP/1.0: the engine closes after its answer, so the end of it needs no parsing.
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream
        .take(8 * 1024)
        .read_to_end(&mut answer)
        .context("no answer to GET /_ping")?;
    let status = answer.split(|byte| *byte == b' ').nth(1);
    ensure!(
        answer.starts_with(b"HTTP/1.") && status == Some(b"200"),
        "{} is no Docker Engine, or not a healthy one",
        socket.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answer_with(answer: &'static [u8]) -> Result<()> {
        let path = std::env::temp_dir().join(format!("ping-{}-{}", std::process::id(), answer.len()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let length = peer.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /_ping HTTP/1.0\r\n"));
            peer.write_all(answer).unwrap();
        });
        let verdict = ping(&path);
        server.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        verdict
    }

    #[test]
    fn an_engine_is_one_that_answers_200() {
        answer_with(b"HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\n\r\nOK").unwrap();
    }

    #[test]
    fn an_unhealthy_engine_or_another_server_is_none() {
        assert!(answer_with(b"HTTP/1.0 500 Internal Server Error\r\n\r\n").is_err());
        assert!(answer_with(b"SSH-2.0-x 200 y").is_err());
        assert!(answer_with(b"").is_err());
    }

    #[test]
    fn a_missing_socket_is_named() {
        let error = ping(Path::new("/nonexistent/docker.sock")).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/docker.sock"));
    }
}
