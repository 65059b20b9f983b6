//! The sink's disk is full.

use std::fs;
use std::path::Path;

use super::rig::{Rig, numbers};
use super::scratch;

/// More than fit on the disk.
const RECORDS: usize = 700;

/// Whether this process still has a deleted file of that folder open.
fn holds_deleted(folder: &Path) -> bool {
    let descriptors = fs::read_dir("/proc/self/fd").expect("our descriptors").flatten();
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.starts_with(folder) && link.to_string_lossy().ends_with(" (deleted)"))
}

#[test]
fn a_file_that_is_removed_from_a_full_disk_is_let_go_and_begun_anew() {
    let Some(scratch) = scratch() else { return };
    let disk = scratch.tmpfs("disk", "size=64k");
    let file = disk.join("lines");
    let rig = Rig::to(&file);
    rig.push(0..RECORDS);
    rig.wait_error("no_space");
    assert!(!rig.status().0, "{:?}", rig.status());
    let before = fs::read(&file).expect("what is written");
    fs::remove_file(&file).expect("remove it");
    assert!(rig.settled().is_some());
    assert!(rig.status().0, "{:?}", rig.status());
    // What was in the file is gone with it. A batch of which it had a part is written anew as a whole.
    let written = before.iter().filter(|&&byte| byte == b'\n').count();
    let after = numbers(&file);
    let first = after[0];
    assert!(
        first <= written && written < first + 100,
        "{written} were written, and {first} is the first again"
    );
    assert_eq!(after, (first..RECORDS).collect::<Vec<_>>());
    assert!(!holds_deleted(&disk), "the room is not given back");
}

#[test]
fn a_file_that_is_renamed_on_a_full_disk_ends_in_a_whole_record_and_none_is_lost_or_doubled() {
    let Some(scratch) = scratch() else { return };
    let disk = scratch.tmpfs("disk", "size=64k");
    let (file, renamed, ballast) = (disk.join("lines"), disk.join("lines.1"), disk.join("ballast"));
    fs::write(&ballast, vec![0; 48 << 10]).expect("fill a part of the disk");
    let rig = Rig::to(&file);
    rig.push(0..300);
    rig.wait_error("no_space");
    fs::rename(&file, &renamed).expect("rename it");
    fs::remove_file(&ballast).expect("make room");
    assert!(rig.settled().is_some());
    let (old, new) = (numbers(&renamed), numbers(&file));
    assert!(!old.is_empty() && !new.is_empty(), "{} and {}", old.len(), new.len());
    assert_eq!([old, new].concat(), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_truncated_on_a_full_disk_has_only_whole_records() {
    let Some(scratch) = scratch() else { return };
    let disk = scratch.tmpfs("disk", "size=64k");
    let file = disk.join("lines");
    let rig = Rig::to(&file);
    rig.push(0..RECORDS);
    rig.wait_error("no_space");
    let copied = fs::read(&file).expect("copy it");
    fs::write(&file, "").expect("truncate it");
    assert!(rig.settled().is_some());
    let whole = copied.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(numbers(&file), (whole..RECORDS).collect::<Vec<_>>());
}
