//! Who the agent says it is. Secrets are in files, which are read again when they change, and are shown nowhere.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config;

/// The header `Authorization` of a sink's requests.
pub struct Credentials {
    /// Without one there is no such header.
    file: Option<PathBuf>,
    /// For basic authentication; otherwise the secret is a bearer token.
    user: Option<String>,
    header: String,
    seen: Option<Version>,
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
        let named = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let user = (!auth.user.is_empty()).then(|| auth.user.clone());
        Self {
            file: named(if user.is_some() {
                &auth.password_file
            } else {
                &auth.bearer_file
            }),
            user,
            header: String::new(),
            seen: None,
        }
    }
}

impl Credentials {
    /// The header's value; `None` where there is none. What was read last counts while the file cannot be read, as happens
    /// for a moment while it is replaced.
    pub fn header(&self) -> Option<&str> {
        self.file.is_some().then_some(self.header.as_str())
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
        let secret = text.trim_end_matches(['\r', '\n']);
        // Nothing that is in the file is repeated.
        if secret.is_empty() || secret.contains(|c: char| c.is_control() || !c.is_ascii()) {
            let fault = "holds no secret: one line of visible ASCII characters";
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        self.header = match &self.user {
            Some(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))),
            None => format!("Bearer {secret}"),
        };
        self.seen = Some(version);
        Ok(true)
    }
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
        assert_eq!(credentials.header(), Some("Bearer first-secret"));
        assert!(!format!("{credentials:?}").contains("secret"));
        // As an orchestrator replaces it.
        fs::write(folder.path().join("new"), "other-secret").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(credentials.refresh().unwrap());
        assert_eq!(credentials.header(), Some("Bearer other-secret"));
        for no_secret in ["", "\n", "two\nlines", "t\u{f6}ken"] {
            fs::write(&file, no_secret).unwrap();
            let error = credentials.refresh().unwrap_err().to_string();
            assert!(
                error.contains("holds no secret") && !error.contains("lines\n"),
                "{error}"
            );
        }
        assert_eq!(credentials.header(), Some("Bearer other-secret"));
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
        assert_eq!(credentials.header(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        let mut none = Credentials::from(&Auth::default());
        assert!(!none.refresh().unwrap());
        assert_eq!(none.header(), None);
    }
}
