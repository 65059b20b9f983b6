//! The sink's disk takes what is written, and does not keep it.

use std::fs;
use std::io;

use log_capturer::delivery::sink::{File, Sink as _};
use log_capturer::encode;

use super::rig::Rig;
use super::{run, scratch, text};

/// An ext4 in an image that its own disk has no room for: written pages fail one by one, later.
#[test]
fn an_error_of_fdatasync_is_remembered_when_the_kernel_has_forgotten_it() {
    let Some(scratch) = scratch() else { return };
    let file = scratch.ext4("ext4", 6 << 20).join("lines");
    let mut sink = File::open(&file, encode::is_begun).expect("open the file");
    let block = vec![b'x'; 1 << 20];
    for _ in 0..16 {
        assert_eq!(sink.write(&block).expect("the cache takes it"), block.len());
    }
    let mark = sink.mark().expect("a mark").expect("of a file");
    let written = mark.written.expect("something to synchronise");
    let error = written.sync().expect_err("the disk cannot have it");
    assert!(error.to_string().contains("may have lost"), "{error}");

    let asked = fs::File::options().append(true).open(&file).expect("open it once more");
    let forgotten = (0..5).any(|_| written_by(&asked).is_ok());
    assert!(forgotten, "the kernel does not forget: this test shows nothing");
    for _ in 0..3 {
        written.sync().expect_err("what is lost is lost");
    }
    let error = sink.mark().expect_err("no mark behind what is lost");
    assert!(sink.is_fatal(&error), "{error}");
}

fn written_by(file: &fs::File) -> io::Result<()> {
    file.sync_data()
}

#[test]
fn a_sink_whose_disk_has_lost_something_fails_for_good_and_says_so() {
    let Some(scratch) = scratch() else { return };
    let file = scratch.ext4("ext4", 6 << 20).join("lines");
    let rig = Rig::to(&file);
    rig.push(0..120_000);
    let marks = rig.settled().expect("the cache has taken everything");
    let written = marks[0].1.written.clone().expect("something to synchronise");
    written.sync().expect_err("the disk cannot have it");
    assert!(rig.settled().is_none(), "a mark although the disk has lost something");
    let fatal = rig.failed().to_string();
    assert!(fatal.contains("archive") && fatal.contains("may have lost"), "{fatal}");
}

#[test]
fn a_disk_that_becomes_read_only_is_told_and_what_was_not_on_it_is_not_believed() {
    let Some(scratch) = scratch() else { return };
    let disk = scratch.ext4("ext4", 64 << 20);
    let rig = Rig::to(&disk.join("lines"));
    rig.push(0..100);
    let marks = rig.settled().expect("everything is written");
    let written = marks[0].1.written.clone().expect("something to synchronise");
    written.sync().expect("the disk has it");
    rig.push(100..200);
    rig.settled().expect("everything is written");
    // As the kernel does by itself when it finds the file system damaged.
    run("mount", &["-o", "remount,abort", text(&disk)]);
    rig.push(200..300);
    rig.wait_error("permission");
    let (ready, detail) = rig.status();
    assert!(!ready && detail.contains("Read-only"), "{detail}");
    // Records 100 to 199 were never on it.
    written.sync().expect_err("they are lost");
}
