//! The limit on open files is a process's, so this test has one of its own.

use std::fs::File;

use log_capturer::open_files;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn what_must_not_fail_has_a_reserve_when_all_else_is_refused() {
    let limit = |current| Rlimit {
        current: Some(current),
        maximum: Some(120),
    };
    setrlimit(Resource::Nofile, limit(60)).unwrap();
    let raised = open_files::raise().unwrap();
    assert_eq!((raised.from, raised.to), (60, 120));
    open_files::keep_reserve().unwrap();
    let left = open_files::left().unwrap();
    let open = || File::open("/dev/null");
    let all: Vec<File> = std::iter::from_fn(|| open().ok()).collect();
    // What was inherited with a number above the limit takes no room below it.
    assert!(
        (left..=left + 2).contains(&(all.len() as u64)),
        "{} of {left}",
        all.len()
    );
    assert!((60..=100).contains(&left), "{left}");

    let kept: Vec<File> = (0..30).map(|_| open_files::with_reserve(open).unwrap()).collect();
    assert!(open().is_err(), "the reserve is for those who ask for it");
    drop(kept);
    // One within another.
    open_files::with_reserve(|| {
        open_files::with_reserve(open).unwrap();
        open().unwrap();
    });
    assert!(open().is_err());
    drop(all);
    open().unwrap();
    assert_eq!(getrlimit(Resource::Nofile).maximum, Some(120), "the hard limit stays");
}
