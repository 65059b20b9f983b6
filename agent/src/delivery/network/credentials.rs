//! Who the agent says it is. Secrets are in files, which are read again when they change, and are shown nowhere.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config;

/// Headers that the agent makes itself.
const OWN: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

/// Headers of a sink's requests, of which the values are secret.
pub struct Credentials {
    /// Without one there are no such headers.
    file: Option<PathBuf>,
    meaning: Meaning,
    headers: Vec<(String, String)>,
    seen: Option<Version>,
}

/// What the file holds.
enum Meaning {
    /// A bearer token.
    Bearer,
    /// The password of this user.
    Basic(String),
    /// Headers, one a line.
    Headers,
}

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl From<&config::Auth> for Credentials {
    fn from(auth: &config::Auth) -> Self {
        if auth.user.is_empty() {
            Self::new(&auth.bearer_file, Meaning::Bearer)
        } else {
            Self::new(&auth.password_file, Meaning::Basic(auth.user.clone()))
        }
    }
}

impl Credentials {
    /// Headers that this file names, one a line. An empty path: none.
    pub fn of_headers(file: &Path) -> Self {
        Self::new(file, Meaning::Headers)
    }

    fn new(file: &Path, meaning: Meaning) -> Self {
        Self {
            file: (!file.as_os_str().is_empty()).then(|| file.to_owned()),
            meaning,
            headers: Vec::new(),
            seen: None,
        }
    }

    /// Whether there are any.
    pub fn are_given(&self) -> bool {
        self.file.is_some()
    }

    /// The headers. What was read last counts while the file cannot be read, as happens for a moment while it is replaced.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads the file again if it has changed. Tells whether it has.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let Some(file) = self.file.clone() else {
            return Ok(false);
        };
        let refreshed = self.read(&file);
        refreshed.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    }

    fn read(&mut self, file: &Path) -> io::Result<bool> {
        let version = Version::of(file)?;
        if self.seen == Some(version) {
            return Ok(false);
        }
        let text = fs::read_to_string(file)?;
        let headers = match &self.meaning {
            Meaning::Bearer => secret(&text).map(|token| vec![authorization(format!("Bearer {token}"))]),
            Meaning::Basic(user) => secret(&text).map(|password| {
                let pair = STANDARD.encode(format!("{user}:{password}"));
                vec![authorization(format!("Basic {pair}"))]
            }),
            Meaning::Headers => headers(&text),
        };
        self.headers = headers.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        self.seen = Some(version);
        Ok(true)
    }
}

fn authorization(value: String) -> (String, String) {
    ("Authorization".to_owned(), value)
}

// Nothing that is in a file is repeated in what is said of it.

fn secret(text: &str) -> Result<&str, String> {
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err("holds no secret: one line of visible ASCII characters".to_owned());
    }
    Ok(secret)
}

fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |what| Err(format!("line {} {what}", number + 1));
        let Some((name, value)) = line.split_once(':') else {
            return fault("is no header: a name, a colon and a value");
        };
        let value = value.trim();
        if name.is_empty() || !name.chars().all(is_of_name) {
            return fault("has no name of a header before its colon");
        }
        if value.contains(|c: char| c.is_control() || !c.is_ascii()) {
            return fault("has other than visible ASCII characters in its value");
        }
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return fault("has a header that the agent makes itself");
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}

impl Version {
    fn of(file: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(file)?;
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Auth;

    fn shown(credentials: &Credentials) -> Vec<String> {
        let headers = credentials.headers();
        headers.map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_secret_is_read_again_when_it_changes_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let auth = Auth {
            bearer_file: file.clone(),
            ..Auth::default()
        };
        let mut credentials = Credentials::from(&auth);
        assert!(credentials.refresh().is_err());
        fs::write(&file, "first-secret\n").unwrap();
        assert!(credentials.refresh().unwrap() && !credentials.refresh().unwrap());
        assert_eq!(shown(&credentials), ["Authorization: Bearer first-secret"]);
        assert!(!format!("{credentials:?}").contains("secret"));
        // As an orchestrator replaces it.
        fs::write(folder.path().join("new"), "other-secret").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(credentials.refresh().unwrap());
        assert_eq!(shown(&credentials), ["Authorization: Bearer other-secret"]);
        for no_secret in ["", "\n", "two\nlines", "t\u{f6}ken"] {
            fs::write(&file, no_secret).unwrap();
            let error = credentials.refresh().unwrap_err().to_string();
            assert!(
                error.contains("holds no secret") && !error.contains("lines\n"),
                "{error}"
            );
        }
        assert_eq!(shown(&credentials), ["Authorization: Bearer other-secret"]);
    }

    #[test]
    fn a_password_is_sent_with_its_user_and_without_a_file_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "open sesame").unwrap();
        let auth = Auth {
            user: "Aladdin".to_owned(),
            password_file: file,
            ..Auth::default()
        };
        let mut credentials = Credentials::from(&auth);
        credentials.refresh().unwrap();
        // The example of RFC 7617.
        assert_eq!(
            shown(&credentials),
            ["Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
        );
        let mut none = Credentials::from(&Auth::default());
        assert!(!none.refresh().unwrap());
        assert_eq!((none.are_given(), none.headers().count()), (false, 0));
    }

    #[test]
    fn a_file_of_headers_is_read_and_what_is_none_is_named_by_its_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        fs::write(
            &file,
            "# of the vendor\n\nX-Api-Key: k3y\r\nAuthorization:Bearer a:b \n",
        )
        .unwrap();
        let mut credentials = Credentials::of_headers(&file);
        assert!(credentials.refresh().unwrap());
        assert_eq!(shown(&credentials), ["X-Api-Key: k3y", "Authorization: Bearer a:b"]);
        for (text, line) in [
            ("secret", "line 1"),
            ("a: b\n: secret", "line 2"),
            ("se cret: x", "line 1"),
            ("a: s\u{f6}cret", "line 1"),
            ("Content-Length: 7", "line 1"),
        ] {
            fs::write(&file, text).unwrap();
            let error = credentials.refresh().unwrap_err().to_string();
            assert!(error.contains(line) && !error.contains("cret"), "{error}");
        }
        assert_eq!(credentials.headers().count(), 2);
        fs::write(&file, "").unwrap();
        assert!(credentials.refresh().unwrap() && credentials.headers().count() == 0);
    }
}
