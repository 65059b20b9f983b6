//! Where an engine keeps a container's log, and in which format.
//!
//! Everything is read from the folder that the engine keeps for the container: the log is found without a question to the
//! engine, also when the container is removed a moment later. A folder of the same 64 digits proves that it is this
//! engine's.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::decode::Format;
use crate::record::ContainerId;

/// Most that is read of a file with a container's settings. They bear its labels and environment, too.
const SETTINGS: u64 = 4 << 20;

/// Podman's folders, by its storage driver (`containers/storage`).
const STORAGE: [&str; 5] = ["overlay", "vfs", "btrfs", "zfs", "aufs"];

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub folder: PathBuf,
    /// The name of the file that is written to. Those that were rotated away have a number behind it.
    pub name: String,
    pub format: Format,
    /// The container's lines end in a CR that is its terminal's.
    pub tty: bool,
    /// A file that was rotated away stays for at least one rotation more, so that one look between two rotations suffices.
    pub keeps_files: bool,
}

/// Why a log is not read from its files.
#[derive(Debug, thiserror::Error)]
pub enum NotHere {
    /// The configuration says to ask the API.
    #[error("capture.source is api")]
    NotWanted,
    /// Nobody has said where the engine keeps its files.
    #[error("the engine has not named its data root")]
    NoRoot,
    /// There is no folder of that container there.
    #[error("the engine's folder for it is not in {}", .0.display())]
    NoFolder(PathBuf),
    /// Its files cannot be read, or are a cache that the driver may lose lines before (Docker's dual logging).
    #[error("its log driver is {0}")]
    Driver(String),
    /// A file of its own cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// What the system has said.
        source: io::Error,
    },
    /// A file with settings is not of the expected shape.
    #[error("{} is not as the engine writes it", .0.display())]
    Malformed(PathBuf),
}

impl NotHere {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

impl Place {
    /// Looks in the engine's data root, as `/info` names it (`DockerRootDir`).
    pub(super) fn find(root: &Path, container: &ContainerId) -> Result<Self, NotHere> {
        let folder = root.join("containers").join(container.as_str());
        if is_folder(&folder)? {
            return docker(folder, container);
        }
        for storage in STORAGE {
            let folder = root.join(format!("{storage}-containers")).join(container.as_str());
            if is_folder(&folder)? {
                return podman(folder.join("userdata"));
            }
        }
        Err(NotHere::NoFolder(root.to_owned()))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

fn docker(folder: PathBuf, container: &ContainerId) -> Result<Place, NotHere> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Host {
        log_config: LogConfig,
    }
    #[derive(Deserialize)]
    struct LogConfig {
        #[serde(rename = "Type")]
        driver: String,
        #[serde(rename = "Config", default)]
        options: Option<Options>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "kebab-case", default)]
    struct Options {
        max_size: Option<String>,
        max_file: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Container {
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        tty: bool,
    }
    let host: Host = settings(&folder.join("hostconfig.json"))?;
    let Container { config } = settings(&folder.join("config.v2.json"))?;
    let options = host.log_config.options.unwrap_or_default();
    // `local` rotates without being told to, and keeps five files.
    let rotates = options.max_size.is_some() || host.log_config.driver == "local";
    let most = options.max_file.and_then(|number| number.parse().ok());
    let keeps_files = !rotates || most.unwrap_or(if host.log_config.driver == "local" { 5 } else { 1 }) > 2;
    let (folder, name, format) = match host.log_config.driver.as_str() {
        "json-file" => (folder, format!("{container}-json.log"), Format::JsonFile),
        "local" => (folder.join("local-logs"), "container.log".to_owned(), Format::Local),
        other => return Err(NotHere::Driver(other.to_owned())),
    };
    Ok(Place {
        folder,
        name,
        format,
        tty: config.tty,
        keeps_files,
    })
}

fn podman(folder: PathBuf) -> Result<Place, NotHere> {
    #[derive(Deserialize)]
    struct Runtime {
        process: Process,
    }
    #[derive(Deserialize)]
    struct Process {
        #[serde(default)]
        terminal: bool,
    }
    let name = "ctr.log";
    let log = folder.join(name);
    match fs::metadata(&log) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotHere::Driver("not k8s-file".to_owned())),
        Err(error) => return Err(NotHere::io(&log)(error)),
    }
    let Runtime { process } = settings(&folder.join("config.json"))?;
    Ok(Place {
        folder,
        name: name.to_owned(),
        format: Format::K8sFile,
        tty: process.terminal,
        keeps_files: false,
    })
}

fn is_folder(path: &Path) -> Result<bool, NotHere> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(NotHere::io(path)(error)),
    }
}

fn settings<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, NotHere> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(SETTINGS).read_to_end(&mut text));
    read.map_err(NotHere::io(path))?;
    serde_json::from_slice(&text).map_err(|_| NotHere::Malformed(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_log_is_found_by_the_engines_own_settings() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let find = |id: &str| Place::find(root, &ContainerId::new(id));
        for (id, driver, tty) in [
            ("a", "json-file", true),
            ("b", "local", false),
            ("c", "journald", false),
        ] {
            let host = format!(r#"{{"Binds":null,"LogConfig":{{"Type":"{driver}","Config":{{}}}}}}"#);
            written(root, &format!("containers/{id}/hostconfig.json"), &host);
            let config = format!(r#"{{"StreamConfig":{{}},"Config":{{"Hostname":"x","Tty":{tty}}}}}"#);
            written(root, &format!("containers/{id}/config.v2.json"), &config);
        }
        let json = find("a").unwrap();
        assert_eq!(json.path(), root.join("containers/a/a-json.log"));
        assert_eq!((json.format, json.tty), (Format::JsonFile, true));
        let local = find("b").unwrap();
        assert_eq!(local.path(), root.join("containers/b/local-logs/container.log"));
        assert_eq!((local.format, local.tty), (Format::Local, false));
        assert_eq!(find("c").unwrap_err().to_string(), "its log driver is journald");
        assert!(matches!(find("d"), Err(NotHere::NoFolder(_))));
        written(root, "containers/a/hostconfig.json", "{");
        assert!(matches!(find("a"), Err(NotHere::Malformed(_))));

        written(
            root,
            "overlay-containers/e/userdata/config.json",
            r#"{"process":{"terminal":true}}"#,
        );
        assert!(matches!(find("e"), Err(NotHere::Driver(_))));
        written(root, "overlay-containers/e/userdata/ctr.log", "");
        let podman = find("e").unwrap();
        assert_eq!((podman.format, podman.tty), (Format::K8sFile, true));
    }
}
