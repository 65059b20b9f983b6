//! Folders of other users, into which they put what they like.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use log_capturer::delivery::sink::{File, Sink as _};
use log_capturer::encode;
use log_capturer::state::StateDir;

use super::{Scratch, scratch};

const BOB: u32 = 12_345;
const EVE: u32 = 12_346;

/// A file of root's, on which none of it may be written.
fn victim(scratch: &Scratch) -> PathBuf {
    let victim = scratch.path("victim");
    fs::write(&victim, "untouched").expect("write it");
    victim
}

fn folder(scratch: &Scratch, name: &str, owner: u32, mode: u32) -> PathBuf {
    let path = scratch.path(name);
    fs::create_dir(&path).expect("make it");
    chown(&path, Some(owner), Some(owner)).expect("give it away");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set its mode");
    path
}

fn link(target: &Path, path: &Path, owner: u32) {
    symlink(target, path).expect("make a link");
    lchown(path, Some(owner), Some(owner)).expect("give it away");
}

fn write(path: &Path) -> io::Result<()> {
    File::open(path, encode::is_begun)?.write(b"a record\n").map(drop)
}

fn refused(path: &Path, because: &str) {
    let error = write(path).expect_err("it is refused").to_string();
    assert!(error.contains(because), "{}: {error}", path.display());
}

#[test]
fn another_users_link_is_not_followed_neither_at_the_end_nor_before() {
    let Some(scratch) = scratch() else { return };
    let victim = victim(&scratch);
    let bobs = folder(&scratch, "bobs", BOB, 0o755);
    link(&victim, &bobs.join("lines"), BOB);
    refused(&bobs.join("lines"), "symbolic link of user 12345");
    link(&scratch.0, &bobs.join("logs"), BOB);
    refused(&bobs.join("logs/victim"), "symbolic link of user 12345");
    refused(&bobs.join("logs/new"), "symbolic link of user 12345");
    assert_eq!(fs::read(&victim).expect("read it"), b"untouched");
    assert!(!scratch.path("new").exists());
}

#[test]
fn roots_link_is_followed_and_another_users_folder_is_written_to() {
    let Some(scratch) = scratch() else { return };
    let bobs = folder(&scratch, "bobs", BOB, 0o755);
    write(&bobs.join("lines")).expect("a folder of bob's");
    link(&bobs, &scratch.path("link"), 0);
    write(&scratch.path("link/lines")).expect("by a link of root's");
    assert_eq!(fs::read(bobs.join("lines")).expect("read it"), b"a record\na record\n");
}

#[test]
fn a_second_name_of_a_file_is_no_way_around() {
    let Some(scratch) = scratch() else { return };
    let victim = victim(&scratch);
    for (name, owner, mode) in [("bobs", BOB, 0o755), ("everybodys", 0, 0o1777)] {
        let folder = folder(&scratch, name, owner, mode);
        fs::hard_link(&victim, folder.join("lines")).expect("give it a second name");
        refused(&folder.join("lines"), "hard links");
        fs::remove_file(folder.join("lines")).expect("remove it");
    }
    // In a folder of root's only root can have done that.
    fs::hard_link(&victim, scratch.path("lines")).expect("give it a second name");
    write(&scratch.path("lines")).expect("it is meant so");
}

#[test]
fn a_file_that_another_user_has_put_into_everybodys_folder_gets_no_records() {
    let Some(scratch) = scratch() else { return };
    let everybodys = folder(&scratch, "everybodys", 0, 0o1777);
    let file = everybodys.join("lines");
    fs::write(&file, "").expect("make it");
    chown(&file, Some(EVE), Some(EVE)).expect("give it away");
    refused(&file, "belongs to user 12346");
    fs::remove_file(&file).expect("remove it");
    write(&file).expect("a file of our own");
    // A file that was given to another user where only root can have done that.
    let given = scratch.path("given");
    fs::write(&given, "").expect("make it");
    chown(&given, Some(BOB), Some(BOB)).expect("give it away");
    write(&given).expect("as rotating programs do");
}

#[test]
fn a_file_that_is_replaced_by_a_link_while_it_is_written_to_is_not_followed_either() {
    let Some(scratch) = scratch() else { return };
    let victim = victim(&scratch);
    let bobs = folder(&scratch, "bobs", BOB, 0o755);
    let file = bobs.join("lines");
    let mut sink = File::open(&file, encode::is_begun).expect("open it");
    sink.write(b"one\n").expect("write to it");
    fs::rename(&file, bobs.join("lines.1")).expect("rename it");
    link(&victim, &file, BOB);
    let error = sink.reopen().expect_err("it is refused");
    assert!(!sink.is_fatal(&error), "it can be mended: {error}");
    assert_eq!(fs::read(&victim).expect("read it"), b"untouched");
    fs::remove_file(&file).expect("mend it");
    sink.reopen().expect("a new file");
    sink.write(b"two\n").expect("write to it");
    assert_eq!(fs::read(&file).expect("read it"), b"two\n");
}

#[test]
fn a_state_dir_must_be_ours_and_nobody_elses_to_write_into() {
    let Some(scratch) = scratch() else { return };
    let refused = |path: &Path, because: &str| {
        let error = StateDir::open(path).expect_err("it is refused").to_string();
        assert!(error.contains(because), "{error}");
    };
    refused(&folder(&scratch, "bobs", BOB, 0o700), "belongs to user 12345");
    refused(
        &folder(&scratch, "shared", 0, 0o775),
        "others can write into it (mode 0775)",
    );
    refused(
        &folder(&scratch, "everybodys", 0, 0o1777),
        "others can write into it (mode 1777)",
    );
    let own = folder(&scratch, "own", 0, 0o755);
    link(&own, &scratch.path("link"), BOB);
    refused(&scratch.path("link"), "symbolic link of user 12345");
    // A link in the folder itself can only be of whoever owns it; nothing is written through it all the same.
    let victim = victim(&scratch);
    symlink(&victim, own.join("lock")).expect("make a link");
    StateDir::open(&own).expect_err("it is refused");
    assert_eq!(fs::read(&victim).expect("read it"), b"untouched");
    fs::remove_file(own.join("lock")).expect("mend it");
    StateDir::open(&own).expect("it is ours");
}
