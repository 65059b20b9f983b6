//! Where a store is, as the `url` of a sink says it.

use std::fmt;
use std::str::FromStr;

use super::address::{Address, AddressError, Scheme};

const PORT: u16 = 80;
const TLS_PORT: u16 = 443;

/// `http://` or `https://`, a host, and perhaps a path that the store's own paths stand below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    is_secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no URL of a store, to be read after "url: ". The text itself is not repeated: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// It has another scheme, or none.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// Credentials have files of their own.
    #[error("must not have a user name, a query or a fragment: credentials belong in auth")]
    More,
    /// The host or the port is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The host is missing.
    #[error("must name a host")]
    Host,
    /// The path has other characters than a path has.
    #[error("has a path with other characters than letters, digits and -._~/%")]
    Path,
}

impl StoreUrl {
    /// Whether it is with TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// A name, or the literal of an address, an IPv6 one without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which a URL without one has by its scheme.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of what the store calls `own`. A URL that names it already is taken as it is.
    pub fn path(&self, own: &str) -> String {
        if self.path.ends_with(own) {
            self.path.clone()
        } else {
            format!("{}{own}", self.path)
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(StoreUrlError::Scheme)?;
        if rest.contains(['@', '?', '#']) {
            return Err(StoreUrlError::More);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || authority.starts_with(':') {
            return Err(StoreUrlError::Host);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
        if !path.bytes().all(is_plain) {
            return Err(StoreUrlError::Path);
        }
        match text[..text.len() - path.len()].parse()? {
            Address::Tcp { scheme, host, port } => {
                let is_secure = scheme == Scheme::Https;
                let default = if is_secure { TLS_PORT } else { PORT };
                Ok(Self {
                    is_secure,
                    host,
                    port: port.unwrap_or(default),
                    path: path.trim_end_matches('/').to_owned(),
                })
            }
            Address::Unix(_) => Err(StoreUrlError::Scheme),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let push = "/loki/api/v1/push";
        for (text, shown, path) in [
            ("http://loki:3100", "http://loki:3100", push),
            ("http://loki", "http://loki:80", push),
            ("https://logs.example.org/", "https://logs.example.org:443", push),
            ("http://[::1]:1/a/b", "http://[::1]:1/a/b", "/a/b/loki/api/v1/push"),
            ("http://h/loki/api/v1/push", "http://h:80/loki/api/v1/push", push),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.path(push).as_str()), (shown, path));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        use StoreUrlError::*;
        for (text, error) in [
            ("loki:3100", Scheme),
            ("tcp://loki:3100", Scheme),
            ("http://", Host),
            ("http://:3100", Host),
            ("http://user:secret@loki", More),
            ("http://loki/?token=secret", More),
            ("http://loki/a b", Path),
            ("http://loki:0", Address(AddressError::Port)),
        ] {
            let refused = text.parse::<StoreUrl>().unwrap_err();
            assert!(!refused.to_string().contains("secret"));
            assert_eq!(refused, error, "{text}");
        }
    }
}
