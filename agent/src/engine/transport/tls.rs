//! TLS with the engine, or with a store: whom the agent trusts, who it is, and what is wrong where the two do not agree.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use jiff::Timestamp;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use super::error::{EndpointError, TlsError};
use super::link::Link;
use crate::config;

/// What every TLS connection is made with. A key is in it, of which its `Debug` says nothing.
pub struct Tls {
    connector: TlsConnector,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    name: ServerName<'static>,
    /// The agent's own certificate, and what it is signed by. None: without one.
    own: Vec<CertificateDer<'static>>,
    ca_file: PathBuf,
    cert_file: PathBuf,
    words: &'static Words,
}

/// What messages call the peer, and the keys of its settings.
struct Words {
    peer: &'static str,
    ca: &'static str,
    cert: &'static str,
    key: &'static str,
    server_name: &'static str,
    /// What can be done without a certificate of one's own.
    own: &'static str,
}

const ENGINE: Words = Words {
    peer: "engine",
    ca: "docker.tls.ca",
    cert: "docker.tls.cert",
    key: "docker.tls.key",
    server_name: "docker.tls.server_name",
    own: "name it in docker.tls.cert, and its key in docker.tls.key, or put cert.pem and key.pem into DOCKER_CERT_PATH",
};

const STORE: Words = Words {
    peer: "store",
    ca: "tls.ca",
    cert: "tls.cert",
    key: "tls.key",
    server_name: "tls.server_name",
    own: "name it in tls.cert of the sink, and its key in tls.key",
};

/// The files of the system's own CAs, by distribution. The first that exists counts.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The settings of one peer.
struct Settings<'a> {
    roots: RootCertStore,
    ca: &'a Path,
    cert: &'a Path,
    key: &'a Path,
    server_name: &'a str,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a connection failed, noted where it was read: hyper, in between, has other words for it.
pub(super) type Cause = Arc<OnceLock<TlsError>>;

impl Tls {
    /// Reads the files. `host` is whom the address names.
    pub fn new(config: &config::Tls, host: &str) -> Result<Self, EndpointError> {
        let settings = Settings {
            roots: roots(ENGINE.ca, &config.ca)?,
            ca: &config.ca,
            cert: &config.cert,
            key: &config.key,
            server_name: &config.server_name,
        };
        Self::of(settings, host, &ENGINE)
    }

    /// The same for a store. Without a CA of its own, those of the system are trusted.
    pub fn of_store(config: &config::StoreTls, host: &str) -> Result<Self, EndpointError> {
        let is_named = !config.ca.as_os_str().is_empty();
        let ca = if is_named { &config.ca } else { system_roots()? };
        let roots = if is_named {
            roots(STORE.ca, ca)?
        } else {
            // What a distribution ships in one file is not all of a kind that can be used.
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(STORE.ca, ca)?);
            roots
        };
        let settings = Settings {
            roots,
            ca,
            cert: &config.cert,
            key: &config.key,
            server_name: &config.server_name,
        };
        Self::of(settings, host, &STORE)
    }

    fn of(settings: Settings<'_>, host: &str, words: &'static Words) -> Result<Self, EndpointError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(settings.roots);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| EndpointError::new(words.ca, error.to_string()))?
            .with_root_certificates(Arc::clone(&roots));
        let (own, client) = if settings.cert.as_os_str().is_empty() {
            (Vec::new(), builder.with_no_client_auth())
        } else {
            let own = certificates(words.cert, settings.cert)?;
            let key = key(words.key, settings.key)?;
            let client = builder.with_client_auth_cert(own.clone(), key).map_err(|error| {
                let cert = settings.cert.display();
                refused(words.key, settings.key, &format!("is not the key of {cert}: {error}"))
            })?;
            (own, client)
        };
        let name = if settings.server_name.is_empty() {
            host
        } else {
            settings.server_name
        };
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let text = format!("must be given: {name:?} is no name that a certificate can be for");
            EndpointError::new(words.server_name, text)
        })?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            provider,
            roots,
            name,
            own,
            ca_file: settings.ca.to_owned(),
            cert_file: settings.cert.to_owned(),
            words,
        })
    }

    /// Begins a session over a connected link. It fails if a certificate is refused.
    pub async fn handshake(self: &Arc<Self>, link: Link) -> io::Result<Session> {
        let stream = self.connector.connect(self.name.clone(), link).await?;
        Ok(Session {
            stream,
            tls: Arc::clone(self),
            cause: Cause::default(),
        })
    }

    /// In words, what a connection failed for; `None` where that has nothing to do with TLS.
    pub fn explain(&self, error: &io::Error) -> Option<TlsError> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        let ca = self.ca_file.display();
        let peer = self.words.peer;
        let (reason, message) = match error {
            Error::InvalidCertificate(wrong) => match wrong {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    ("tls_expired", format!("the {peer}'s certificate {}", validity(wrong)))
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                    "tls_unknown_issuer",
                    format!(
                        "the {peer}'s certificate is not signed by {ca} ({}): is it the right {peer}?",
                        self.words.ca
                    ),
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                    "tls_wrong_name",
                    format!(
                        "the {peer}'s certificate is not for {:?}: name in {} what it is for",
                        self.name.to_str(),
                        self.words.server_name
                    ),
                ),
                _ => (
                    "tls_certificate",
                    format!("the {peer}'s certificate {}", validity(wrong)),
                ),
            },
            Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
                ("tls_client_certificate", self.refusal(*alert))
            }
            Error::InvalidMessage(_) => (
                "tls",
                format!("what listens at the {peer}'s address does not speak TLS there: {error}"),
            ),
            _ => ("tls", format!("TLS with the {peer} fails: {error}")),
        };
        Some(TlsError { reason, message })
    }

    fn refusal(&self, alert: AlertDescription) -> String {
        let Words { peer, own, .. } = self.words;
        if self.own.is_empty() {
            return format!("the {peer} asks for the agent's certificate, and there is none: {own}");
        }
        let file = self.cert_file.display();
        match self.own_fault() {
            Some(fault) => format!("the {peer} refuses the agent's certificate {file}: it {fault}"),
            None => format!(
                "the {peer} refuses the agent's certificate {file} ({alert:?}): is it signed by a CA that the {peer} trusts?"
            ),
        }
    }

    /// What the agent's own certificate can be refused for, as far as the agent can tell: an engine says little of it.
    fn own_fault(&self) -> Option<String> {
        let wrong = self.own_wrong()?;
        if is_of_issuer(&wrong) {
            return Some(format!(
                "is not signed by {}, as the {}'s is",
                self.ca_file.display(),
                self.words.peer
            ));
        }
        Some(validity(&wrong))
    }

    /// What is wrong with it whoever signed it: an engine may have another CA for its clients than for itself.
    pub fn own_invalidity(&self) -> Option<String> {
        self.own_wrong()
            .filter(|wrong| !is_of_issuer(wrong))
            .as_ref()
            .map(validity)
    }

    fn own_wrong(&self) -> Option<CertificateError> {
        let (first, others) = self.own.split_first()?;
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider)).build();
        match verifier.ok()?.verify_client_cert(first, others, UnixTime::now()) {
            Err(Error::InvalidCertificate(wrong)) => Some(wrong),
            Err(_) | Ok(_) => None,
        }
    }
}

/// One that is signed by another CA of the same name has a bad signature.
fn is_of_issuer(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::UnknownIssuer | CertificateError::BadSignature)
}

/// The same text each time, and not the time at which it was looked at.
fn validity(wrong: &CertificateError) -> String {
    let at = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_or_else(|_| "a time out of range".to_owned(), |at| at.to_string())
    };
    match wrong {
        CertificateError::ExpiredContext { not_after, .. } => format!("has expired at {}: renew it", at(not_after)),
        CertificateError::Expired => "has expired: renew it".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is valid only from {} on: is the clock right?", at(not_before))
        }
        CertificateError::NotValidYet => "is not valid yet: is the clock right?".to_owned(),
        other => format!("cannot be accepted: {other}"),
    }
}

/// Engines differ in what they say of one and the same fault.
fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unreadable(key, path, "certificate", error))?;
    if found.is_empty() {
        return Err(unreadable(key, path, "certificate", pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn roots(key: &'static str, path: &Path) -> Result<RootCertStore, EndpointError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        roots
            .add(certificate)
            .map_err(|error| refused(key, path, &format!("holds what is no CA: {error}")))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<&'static Path, EndpointError> {
    let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    found.ok_or_else(|| {
        let text =
            "must name the CA's certificate: this system has no CAs of its own in the places where they are sought";
        EndpointError::new(STORE.ca, text.to_owned())
    })
}

fn key(name: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, EndpointError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| unreadable(name, path, "private key without a passphrase", error))
}

/// Nothing that is in the file is repeated: it may be a key.
fn unreadable(key: &'static str, path: &Path, what: &str, error: pem::Error) -> EndpointError {
    match error {
        pem::Error::Io(error) => refused(
            key,
            path,
            &format!("cannot be read: {error}; let the agent's user read it, or name another file"),
        ),
        pem::Error::NoItemsFound => refused(key, path, &format!("holds no {what} (PEM)")),
        _ => refused(key, path, "is damaged: it is no PEM file"),
    }
}

fn refused(key: &'static str, path: &Path, what: &str) -> EndpointError {
    EndpointError::new(key, format!("{} {what}", path.display()))
}

/// A TLS connection after its handshake.
#[derive(Debug)]
pub struct Session {
    stream: TlsStream<Link>,
    tls: Arc<Tls>,
    cause: Cause,
}

impl Session {
    pub fn link(&self) -> &Link {
        self.stream.get_ref().0
    }

    pub fn cause(&self) -> Cause {
        Arc::clone(&self.cause)
    }

    /// By TLS 1.3 the handshake has ended for the client before the engine has looked at the client's certificate: that it
    /// is refused is read in place of the first answer.
    ///
    /// An end without `close_notify` is an error (`UnexpectedEof`): anybody on the way could have cut the connection.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if let Err(error) = &read
            && let Some(explained) = self.tls.explain(error)
        {
            // The first is the cause.
            let _ = self.cause.set(explained);
        }
        Poll::Ready(read)
    }

    pub fn stream(&mut self) -> Pin<&mut TlsStream<Link>> {
        Pin::new(&mut self.stream)
    }
}
