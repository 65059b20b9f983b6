//! Files and folders that are opened by a path from the configuration.
//!
//! The agent often runs as root and writes into folders of other users. Whoever owns a folder could put a link there, and
//! have the agent write through it to where that user may not. So a symbolic link is followed only where root or the agent's
//! own user made it, in the last part of a path and in every other (compare `fs.protected_symlinks`, which asks the same
//! only of links in folders like `/tmp`). The links of procfs are the kernel's own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, mkdirat, openat, readlinkat};
use rustix::io::Errno;

/// As many as the kernel follows (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// A link on the way was made by somebody who is not trusted.
    #[error("{} is a symbolic link of user {owner}: only links of root and of the agent's own user are followed", link.display())]
    Link {
        /// The link.
        link: PathBuf,
        /// The user who made it.
        owner: u32,
    },
    /// The file could be another one that somebody has linked to.
    #[error("it has {names} names (hard links), and others can put files into its folder")]
    HardLink {
        /// How many names the file has.
        names: u64,
    },
    /// Somebody else has put the file there.
    #[error("it belongs to user {owner}, and everybody can put files into its folder")]
    File {
        /// The user whom the file belongs to.
        owner: u32,
    },
    /// The folder is somebody else's.
    #[error("it belongs to user {owner}: it must be root's or the agent's own user's")]
    Folder {
        /// The user whom the folder belongs to.
        owner: u32,
    },
    /// Others can write into the folder.
    #[error(
        "others can write into it (mode {mode:04o}): take that right away, or name a folder inside, which the agent makes for itself"
    )]
    Writable {
        /// The permissions of the folder.
        mode: u32,
    },
}

impl From<Untrusted> for io::Error {
    fn from(why: Untrusted) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, why)
    }
}

/// Opens a file for reading and appending, and makes it for its owner alone where there is none.
pub fn append(path: &Path) -> io::Result<File> {
    let mut walk = Walk::begin(path)?;
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR;
    while let Some(name) = walk.left.pop() {
        if !walk.left.is_empty() {
            walk.enter(&name, false)?;
            continue;
        }
        match openat(&walk.folder, &name, flags | OFlags::NOFOLLOW, mode) {
            Ok(file) => {
                let file = File::from(file);
                check_file(&file, &fstat(&walk.folder)?)?;
                return Ok(file);
            }
            Err(Errno::LOOP) => {
                if !walk.follow(&name)? {
                    return Ok(openat(&walk.folder, &name, flags, mode)?.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

/// Opens a folder into which nobody else can write, and makes it and what lies above it where it is missing.
pub fn own_folder(path: &Path) -> io::Result<OwnedFd> {
    let mut walk = Walk::begin(path)?;
    while let Some(name) = walk.left.pop() {
        walk.enter(&name, true)?;
    }
    let stat = fstat(&walk.folder)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    if !is_trusted(stat.st_uid) {
        return Err(Untrusted::Folder { owner: stat.st_uid }.into());
    }
    let others = Mode::WGRP | Mode::WOTH;
    if Mode::from_raw_mode(stat.st_mode).intersects(others) {
        return Err(Untrusted::Writable {
            mode: stat.st_mode & 0o7777,
        }
        .into());
    }
    Ok(walk.folder)
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// What `fs.protected_hardlinks` and `fs.protected_regular` ask, whether the kernel does or not.
fn check_file(file: &File, folder: &Stat) -> io::Result<()> {
    let file = file.metadata()?;
    let everybody = Mode::from_raw_mode(folder.st_mode).contains(Mode::WOTH);
    if !file.is_file() || (is_trusted(folder.st_uid) && !everybody) {
        return Ok(());
    }
    if file.nlink() > 1 {
        return Err(Untrusted::HardLink { names: file.nlink() }.into());
    }
    if everybody && !is_trusted(file.uid()) && file.uid() != folder.st_uid {
        return Err(Untrusted::File { owner: file.uid() }.into());
    }
    Ok(())
}

/// A path on the way from its first part to its last.
struct Walk {
    folder: OwnedFd,
    /// For messages.
    at: PathBuf,
    /// The last part first.
    left: Vec<OsString>,
    links: u32,
}

impl Walk {
    fn begin(path: &Path) -> io::Result<Self> {
        let mut walk = Self {
            folder: openat(CWD, ".", FOLDER, Mode::empty())?,
            at: PathBuf::new(),
            left: Vec::new(),
            links: 0,
        };
        walk.go_on_with(path)?;
        Ok(walk)
    }

    fn go_on_with(&mut self, path: &Path) -> io::Result<()> {
        if path.is_absolute() {
            self.folder = openat(CWD, "/", FOLDER, Mode::empty())?;
            self.at = "/".into();
        }
        let parts = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.left.extend(parts);
        Ok(())
    }

    /// Goes down by one part, which can be a link.
    fn enter(&mut self, name: &OsStr, make: bool) -> io::Result<()> {
        let open = |folder: &OwnedFd| openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
        let entry = match open(&self.folder) {
            Err(Errno::NOENT) if make => {
                match mkdirat(&self.folder, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open(&self.folder)?
            }
            entry => entry?,
        };
        if !FileType::from_raw_mode(fstat(&entry)?.st_mode).is_symlink() {
            self.folder = entry;
            self.at.push(name);
        } else if !self.follow(name)? {
            self.folder = openat(&self.folder, name, FOLDER, Mode::empty())?;
        }
        Ok(())
    }

    /// Goes on with what a link says. Tells whether it does: where the kernel's own links lead they do not say.
    fn follow(&mut self, name: &OsStr) -> io::Result<bool> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        let link = openat(&self.folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        if fstatfs(&link)?.f_type == PROC_SUPER_MAGIC {
            return Ok(false);
        }
        let owner = fstat(&link)?.st_uid;
        if !is_trusted(owner) {
            let link = self.at.join(name);
            return Err(Untrusted::Link { link, owner }.into());
        }
        let target = readlinkat(link.as_fd(), "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        self.go_on_with(&target)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
