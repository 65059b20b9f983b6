//! What takes another user's links is in `tests/disks`: it needs root.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().replace("::", "-");
        let path = std::env::temp_dir().join(format!("lc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn written(path: &Path) -> io::Result<()> {
    append(path)?.write_all(b"text")
}

#[test]
fn a_file_is_appended_to_and_made_for_its_owner_alone() {
    let scratch = Scratch::new();
    let path = scratch.0.join("file");
    written(&path).unwrap();
    written(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"texttext");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut text = String::new();
    append(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "texttext");
}

#[test]
fn links_of_the_own_user_are_followed_wherever_they_stand() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("folder");
    fs::create_dir(&folder).unwrap();
    symlink("folder", scratch.0.join("relative")).unwrap();
    symlink(&folder, scratch.0.join("absolute")).unwrap();
    symlink("../absolute/../relative/./file", folder.join("link")).unwrap();
    for path in [
        "relative/link",
        "absolute/link",
        "folder/link",
        "folder/../relative/file",
    ] {
        let _ = fs::remove_file(folder.join("file"));
        written(&scratch.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"text", "{path}");
    }
}

#[test]
fn links_in_a_circle_end() {
    let scratch = Scratch::new();
    symlink("b", scratch.0.join("a")).unwrap();
    symlink("a", scratch.0.join("b")).unwrap();
    for path in ["a", "a/file"] {
        let error = written(&scratch.0.join(path)).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(Errno::LOOP.raw_os_error()),
            "{path}: {error}"
        );
    }
}

#[test]
fn what_is_no_file_is_told_as_the_kernel_tells_it() {
    let scratch = Scratch::new();
    let of = |path: &Path| written(path).unwrap_err().kind();
    assert_eq!(of(&scratch.0), io::ErrorKind::IsADirectory);
    assert_eq!(of(&scratch.0.join("missing/file")), io::ErrorKind::NotFound);
    fs::write(scratch.0.join("file"), "").unwrap();
    assert_eq!(of(&scratch.0.join("file/file")), io::ErrorKind::NotADirectory);
}

#[test]
fn devices_and_the_kernels_own_links_are_opened() {
    let scratch = Scratch::new();
    let file = File::create(scratch.0.join("file")).unwrap();
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let by_root = Path::new("/proc/self/root").join("dev/null");
    for path in [Path::new("/dev/null"), &by_root, Path::new(&own)] {
        written(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert_eq!(fs::read(scratch.0.join("file")).unwrap(), b"text");
}

#[test]
fn a_folder_is_made_with_all_above_it_for_its_owner_alone() {
    let scratch = Scratch::new();
    let path = scratch.0.join("a/b/c");
    own_folder(&path).unwrap();
    own_folder(&path).unwrap();
    for part in ["a", "a/b", "a/b/c"] {
        let mode = fs::metadata(scratch.0.join(part)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part}");
    }
}

#[test]
fn a_folder_that_others_write_into_is_refused() {
    let scratch = Scratch::new();
    for (mode, is_fine) in [
        (0o700, true),
        (0o755, true),
        (0o770, false),
        (0o777, false),
        (0o1777, false),
    ] {
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).unwrap();
        let opened = own_folder(&scratch.0);
        assert_eq!(opened.is_ok(), is_fine, "{mode:o}");
        if let Err(error) = opened {
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        }
    }
    // A folder inside is another matter.
    own_folder(&scratch.0.join("inside")).unwrap();
}
