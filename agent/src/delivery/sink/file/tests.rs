use std::fs;

use super::super::Durable;
use super::*;
use crate::encode::is_begun;

/// A folder of this test's own.
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

    fn path(&self) -> PathBuf {
        self.0.join("lines")
    }

    fn open(&self) -> File {
        File::open(&self.path(), is_begun).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn saved(file: &mut File) -> Value {
    file.mark().unwrap().unwrap().saved
}

fn recovered(file: &mut File, from: Option<&Value>) -> Vec<String> {
    all_recovered(file, from).into_iter().map(|(text, _)| text).collect()
}

/// Also whether each comes after a hole.
fn all_recovered(file: &mut File, from: Option<&Value>) -> Vec<(String, bool)> {
    let mut records = Vec::new();
    let mut take = |record: Recovered<'_>| {
        let text = String::from_utf8(record.text.to_vec()).unwrap();
        records.push((text, record.after_hole));
    };
    file.recover(from, &mut take).unwrap();
    records
}

#[test]
fn reads_on_behind_the_mark_and_takes_a_begun_record_away() {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    file.write(b"one\n").unwrap();
    let mark = saved(&mut file);
    file.write(b"two\nthree\n{\"ts\":\"20").unwrap();
    assert_eq!(recovered(&mut scratch.open(), Some(&mark)), ["two\n", "three\n"]);
    assert_eq!(scratch.text("lines"), "one\ntwo\nthree\n");
    assert_eq!(recovered(&mut scratch.open(), Some(&mark)), ["two\n", "three\n"]);
}

#[test]
fn without_a_mark_only_what_is_begun_goes() {
    let foreign = "x".repeat(200_000);
    let cases = [
        ("one\n{\"ts\":\"20", "one\n"),
        ("", ""),
        ("{\"t", ""),
        ("somebody's", "somebody's\n"),
        (&foreign, &format!("{foreign}\n")),
    ];
    for (text, left) in cases {
        let scratch = Scratch::new();
        fs::write(scratch.path(), text).unwrap();
        let mut file = scratch.open();
        assert!(recovered(&mut file, None).is_empty());
        assert_eq!(file.write(b"new\n").unwrap(), 4);
        assert_eq!(scratch.text("lines"), format!("{left}new\n"));
    }
}

#[test]
fn a_mark_is_where_the_file_ends_and_not_what_was_written() {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    file.write(b"before\n").unwrap();
    fs::write(scratch.path(), "").unwrap();
    file.write(b"one\n").unwrap();
    let mark = saved(&mut file);
    file.write(b"two\n").unwrap();
    assert_eq!(recovered(&mut scratch.open(), Some(&mark)), ["two\n"]);
}

#[test]
fn a_file_that_was_truncated_since_is_read_from_its_beginning_also_when_it_has_grown_again() {
    for since in ["2\n", "2 longer\n3 than before\n"] {
        let scratch = Scratch::new();
        let mut file = scratch.open();
        file.write(b"0 before\n1\n").unwrap();
        let mark = saved(&mut file);
        fs::write(scratch.path(), "").unwrap();
        file.write(since.as_bytes()).unwrap();
        let records = all_recovered(&mut scratch.open(), Some(&mark));
        assert!(records.iter().all(|(_, after_hole)| *after_hole), "{records:?}");
        assert_eq!(recovered(&mut scratch.open(), Some(&mark)).concat(), since);
    }
}

#[test]
fn a_file_that_was_renamed_since_is_read_to_its_end_and_then_the_new_one() {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    file.write(b"one\n").unwrap();
    let mark = saved(&mut file);
    file.write(b"two\n").unwrap();
    fs::rename(scratch.path(), scratch.0.join("lines.1")).unwrap();
    file.write(b"three\n").unwrap();
    file.reopen().unwrap();
    file.write(b"four\n").unwrap();
    assert_eq!(
        recovered(&mut scratch.open(), Some(&mark)),
        ["two\n", "three\n", "four\n"]
    );
    let has_hole = |mark| {
        all_recovered(&mut scratch.open(), Some(mark))
            .iter()
            .any(|(_, hole)| *hole)
    };
    assert!(!has_hole(&mark));
    // Compressed and gone, it tells nothing any more.
    fs::remove_file(scratch.0.join("lines.1")).unwrap();
    assert_eq!(recovered(&mut scratch.open(), Some(&mark)), ["four\n"]);
    assert!(has_hole(&mark));
}

#[test]
fn the_mark_of_another_path_says_nothing_of_this_one() {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    file.write(b"one\n").unwrap();
    let mark = saved(&mut file);
    let other = scratch.0.join("other");
    fs::write(&other, "two\n").unwrap();
    let mut file = File::open(&other, is_begun).unwrap();
    assert!(recovered(&mut file, Some(&mark)).is_empty());
}

#[test]
fn a_renamed_file_is_left_for_a_new_one() {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    file.write(b"one\n").unwrap();
    fs::rename(scratch.path(), scratch.0.join("lines.1")).unwrap();
    file.begin().unwrap();
    file.write(b"two\n").unwrap();
    file.reopen().unwrap();
    file.write(b"three\n").unwrap();
    assert_eq!(scratch.text("lines.1"), "one\ntwo\n");
    assert_eq!(scratch.text("lines"), "three\n");
}

/// So much of a batch of `one`, `two` and `three` was written when `meanwhile` happened.
fn resumed(written: usize, meanwhile: impl Fn(&Scratch)) -> (Scratch, String) {
    let scratch = Scratch::new();
    let mut file = scratch.open();
    let batch = b"one\ntwo\nthree\n";
    file.write(b"before\n").unwrap();
    file.write(&batch[..written]).unwrap();
    meanwhile(&scratch);
    let from = file.resume(batch, written).unwrap();
    file.write(&batch[from..]).unwrap();
    let text = scratch.text("lines");
    (scratch, text)
}

#[test]
fn a_batch_goes_on_where_it_was() {
    for written in 0..=8 {
        assert_eq!(resumed(written, |_| {}).1, "before\none\ntwo\nthree\n", "{written}");
    }
}

#[test]
fn a_batch_of_which_the_file_was_deleted_begins_anew_in_a_new_one() {
    for written in 0..=8 {
        let text = resumed(written, |scratch| fs::remove_file(scratch.path()).unwrap()).1;
        assert_eq!(text, "one\ntwo\nthree\n", "{written}");
    }
}

#[test]
fn a_batch_of_which_the_file_was_renamed_goes_on_with_a_whole_record() {
    let rename = |scratch: &Scratch| fs::rename(scratch.path(), scratch.0.join("lines.1")).unwrap();
    for (written, old, new) in [
        (0, "before\n", "one\ntwo\nthree\n"),
        (2, "before\n", "one\ntwo\nthree\n"),
        (4, "before\none\n", "two\nthree\n"),
        (6, "before\none\n", "two\nthree\n"),
        (8, "before\none\ntwo\n", "three\n"),
    ] {
        let (scratch, text) = resumed(written, rename);
        assert_eq!((&*scratch.text("lines.1"), &*text), (old, new), "{written}");
    }
}

#[test]
fn a_batch_of_which_the_file_was_truncated_goes_on_with_a_whole_record() {
    let truncate = |scratch: &Scratch| fs::write(scratch.path(), "").unwrap();
    for (written, left) in [(2, "one\ntwo\nthree\n"), (4, "two\nthree\n"), (6, "two\nthree\n")] {
        assert_eq!(resumed(written, truncate).1, left, "{written}");
    }
}

#[test]
fn a_disk_that_has_failed_once_is_not_believed_again() {
    let scratch = Scratch::new();
    fs::write(scratch.path(), "").unwrap();
    // A handle that the kernel synchronises nothing for.
    let flags = rustix::fs::OFlags::PATH;
    let handle = rustix::fs::openat(rustix::fs::CWD, scratch.path(), flags, rustix::fs::Mode::empty()).unwrap();
    let open = Open::of(handle.into()).unwrap();
    for _ in 0..2 {
        let error = open.sync().unwrap_err();
        assert!(Lost::is(&error), "{error}");
        assert!(scratch.open().is_fatal(&error));
    }
    assert!(!scratch.open().is_fatal(&io::Error::from(io::ErrorKind::StorageFull)));
}
