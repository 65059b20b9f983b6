//! The disk of `state_dir` is full.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use log_capturer::state::{StateDir, StateError};

use super::{run, scratch, text};

#[test]
fn a_folder_that_the_disk_has_no_room_for_is_made_when_it_has() {
    let Some(scratch) = scratch() else { return };
    // Room for the root of the file system alone.
    let disk = scratch.tmpfs("disk", "nr_inodes=1");
    let path = disk.join("state");
    let state = StateDir::open(&path).expect("no reason not to start");
    assert_eq!(state.load::<Vec<u32>>().expect("nothing"), None);
    state.save(&vec![1]).expect_err("there is no room");
    run("mount", &["-o", "remount,nr_inodes=100", text(&disk)]);
    state.save(&vec![2]).expect("there is room");
    assert_eq!(state.load::<Vec<u32>>().expect("what is saved"), Some(vec![2]));
    StateDir::open(&path).expect_err("it is locked by now");
}

#[test]
fn what_was_saved_before_the_disk_was_full_stays() {
    let Some(scratch) = scratch() else { return };
    let disk = scratch.tmpfs("disk", "size=64k");
    let state = StateDir::open(&disk.join("state")).expect("open it");
    state.save(&vec![1]).expect("there is room");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 64 << 10]).expect_err("the disk is full by now");
    state.save(&vec![2; 10_000]).expect_err("there is no room");
    assert_eq!(state.load::<Vec<u32>>().expect("what is saved"), Some(vec![1]));
    drop(state);
    let state = reopened(&disk.join("state"));
    assert_eq!(state.load::<Vec<u32>>().expect("what is saved"), Some(vec![1]));
    fs::remove_file(&ballast).expect("make room");
    state.save(&vec![3]).expect("there is room");
}

/// A child that another test has forked and that has not executed its program yet holds the lock for a moment.
fn reopened(path: &Path) -> StateDir {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match StateDir::open(path) {
            Err(StateError::InUse(_)) if Instant::now() < deadline => sleep(Duration::from_millis(10)),
            opened => return opened.expect("a full disk is no reason not to start"),
        }
    }
}
