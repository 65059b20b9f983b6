//! The end of a log that comes by TLS: one that the engine has not announced was made by somebody on the way, as far as the
//! agent can tell, and the log is not taken for whole.

use std::sync::Arc;
use std::task::Poll;

use log_capturer::config::{Docker, TlsMode};
use log_capturer::engine::{Endpoint, Engine, EngineError, Limits, Metrics, Opener, Options, Progress, TransportError};
use log_capturer::record::{ContainerId, Line, Since, Until};
use log_capturer::register::{Register, Site};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const LINE: &[u8] = b"2026-11-20T15:04:58.662848374Z hello\n";

#[derive(Clone, Copy)]
enum End {
    /// `close_notify`, then the end.
    Announced,
    Cut,
}

/// Serves connections until one has asked for a log, and ends that one.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, head: &str, end: End) -> std::io::Result<()> {
    let mut kept = Vec::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !request.windows(5).any(|part| part == b"/logs") {
            let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";
            stream.write_all(answer).await?;
            stream.flush().await?;
            kept.push(stream);
            continue;
        }
        stream.write_all(head.as_bytes()).await?;
        let frame = [&[1, 0, 0, 0, 0, 0, 0, LINE.len() as u8], LINE].concat();
        let chunk = [format!("{:x}\r\n", frame.len()).as_bytes(), &frame, b"\r\n"].concat();
        let is_chunked = head.contains("chunked");
        stream.write_all(if is_chunked { &chunk } else { &frame }).await?;
        stream.flush().await?;
        if let End::Announced = end {
            stream.shutdown().await?;
        }
        let (mut bare, _): (TcpStream, _) = stream.into_inner();
        return bare.shutdown().await;
    }
}

/// Follows a log to its end; gives the lines that came, and what the end was taken for.
async fn follow(head: &str, end: End) -> (usize, Result<(), EngineError>) {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let ca = std::env::temp_dir().join(format!("tls-{}-{}-{}.pem", std::process::id(), head.len(), end as u8));
    std::fs::write(&ca, made.cert.pem()).expect("write it");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("its key");
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut docker = Docker {
        host: format!("tcp://{}", listener.local_addr().expect("an address")),
        ..Docker::default()
    };
    docker.tls.mode = TlsMode::On;
    docker.tls.ca = ca.clone();
    let endpoint = Endpoint::new(&docker).expect("an endpoint");
    std::fs::remove_file(ca).expect("remove it");

    let register = Register::default();
    let registry = log_capturer::metrics::registry().expect("a registry");
    let opener = Opener {
        endpoint: Arc::new(endpoint),
        register: register.clone(),
        limits: Limits {
            connect: docker.api.connect_timeout,
            head: docker.api.head_timeout,
            body: docker.api.body_timeout,
        },
        metrics: Arc::new(Metrics::new(&registry).expect("metrics")),
    };
    let engine = Engine::new(opener, Options::from(&docker));
    let reading = async {
        let container = ContainerId::new("ab");
        let opened = engine.logs(&container, Site::Follow, Since::Beginning, Until::Death, 1 << 20);
        let mut log = opened.await.expect("a log");
        let mut lines = 0;
        let result = loop {
            let mut count = |_: Line<'_>| lines += 1;
            match log.read(|_| Poll::Ready(usize::MAX), &mut count).await {
                Ok(Progress::Read(_)) => {}
                Ok(Progress::Ended) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Closed with the read that shows its end, though the log is still here.
        let is_log = |held: &log_capturer::register::Held| held.opening.site == Site::Follow;
        assert!(!register.snapshot().iter().any(is_log));
        drop(log);
        (lines, result)
    };
    let serving = serve(listener, TlsAcceptor::from(Arc::new(server)), head, end);
    let (served, read) = tokio::join!(serving, reading);
    served.expect("served");
    read
}

const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn an_announced_end_is_the_end() {
    let (lines, end) = follow(UNTIL_CLOSE, End::Announced).await;
    assert_eq!(lines, 1);
    end.expect("the end of the log");
}

#[tokio::test]
async fn an_end_that_was_not_announced_is_a_cut() {
    for head in [UNTIL_CLOSE, CHUNKED] {
        let (lines, end) = follow(head, End::Cut).await;
        assert_eq!(lines, 1, "{head}");
        assert!(
            matches!(end, Err(EngineError::Transport(TransportError::Cut))),
            "{head}: {end:?}"
        );
    }
}

#[tokio::test]
async fn nor_is_a_chunked_log_whole_without_its_last_chunk() {
    let (lines, end) = follow(CHUNKED, End::Announced).await;
    assert_eq!(lines, 1);
    assert!(
        matches!(end, Err(EngineError::Transport(TransportError::Cut))),
        "{end:?}"
    );
}
