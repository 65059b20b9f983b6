//! The engine and the connections to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::{Address, Scheme};
use super::guard::{CircuitBreaker, RateLimit, Retry};
use super::place::Problems;
use super::pool::{Health, Pool};
use super::values::word;

/// The engine's socket where nothing else is said.
pub(super) const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The engine and the connections to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// `unix:///path/of/the/socket`, `tcp://host:port`, `https://host:port`; `DOCKER_HOST` when empty.
    pub host: String,
    /// TLS with the engine.
    pub tls: Tls,
    /// How long one request may take.
    pub api: Api,
    /// Keep-alive connections for short requests.
    pub pool: Pool,
    /// Delays between attempts.
    pub retry: Retry,
    /// Pings over idle connections, and what `/readyz` makes of the engine.
    pub health: Health,
    /// When the engine is left alone.
    pub circuit_breaker: CircuitBreaker,
    /// How many requests the engine gets.
    pub rate_limit: RateLimit,
}

/// TLS with the engine. It always verifies: there is no other kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Whether the connection is with TLS.
    #[serde(deserialize_with = "word")]
    pub mode: TlsMode,
    /// The certificate of the CA that has signed the engine's.
    pub ca: PathBuf,
    /// The agent's own certificate and its key; none where both are empty.
    pub cert: PathBuf,
    /// See `cert`.
    pub key: PathBuf,
    /// What the engine's certificate is for; the host of the address when empty.
    pub server_name: String,
}

/// Whether a connection to the engine is with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// As the address and the docker client's variables say. Decided when the configuration is
    /// loaded.
    #[default]
    Auto,
    /// With TLS.
    On,
    /// Without TLS.
    Off,
}

/// How long one request may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// To look up the name, connect, and shake hands for TLS, all together.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// From the request to the end of the response's head.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// For the whole body of a short request.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
}

impl Docker {
    /// Tells what is wrong with its own keys and those of its sections.
    pub fn check(&self, problems: &mut Problems) {
        self.check_address(problems);
        problems.section("tls", |problems| self.tls.check(problems));
        problems.section("api", |problems| self.api.check(problems));
        problems.section("pool", |problems| self.pool.check(problems));
        problems.section("retry", |problems| self.retry.check(problems));
        problems.section("health", |problems| self.health.check(problems));
        problems.section("circuit_breaker", |problems| self.circuit_breaker.check(problems));
        problems.section("rate_limit", |problems| self.rate_limit.check(problems));
    }

    /// Whether the address is one, and says of TLS what `tls.mode` says.
    fn check_address(&self, problems: &mut Problems) {
        let on = self.tls.mode == TlsMode::On;
        match self.host.parse::<Address>() {
            Err(error) => problems.add("host", error.to_string()),
            Ok(Address::Unix(_)) => {
                problems.require(!on, "tls.mode", "must not be on: a unix socket has no TLS");
            }
            Ok(Address::Tcp { scheme, .. }) => {
                problems.require(
                    !(on && scheme == Scheme::Http),
                    "host",
                    "must not be http://, which is without TLS, where DOCKER_TLS_VERIFY or docker.tls.mode asks for it",
                );
                problems.require(
                    on || scheme != Scheme::Https,
                    "tls.mode",
                    "must not be off: https:// is with TLS",
                );
            }
        }
    }
}

impl Tls {
    fn check(&self, problems: &mut Problems) {
        let named = |path: &Path| !path.as_os_str().is_empty();
        problems.require(
            self.mode != TlsMode::On || named(&self.ca),
            "ca",
            "must name the CA's certificate, or DOCKER_CERT_PATH the folder of ca.pem",
        );
        problems.require(
            named(&self.cert) || !named(&self.key),
            "cert",
            "must name the certificate that docker.tls.key is of",
        );
        problems.require(
            named(&self.key) || !named(&self.cert),
            "key",
            "must name the key of docker.tls.cert",
        );
    }
}

impl Api {
    fn check(&self, problems: &mut Problems) {
        problems.duration(self.connect_timeout, "connect_timeout");
        problems.duration(self.head_timeout, "head_timeout");
        problems.duration(self.body_timeout, "body_timeout");
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
        }
    }
}
