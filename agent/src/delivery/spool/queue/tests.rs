use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::super::super::tests::{Written, records};
use super::*;

const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_age: Duration::from_secs(3600),
    segment_bytes: 1000,
    together: 0,
};
const NOW: Time = Time(1_795_827_600_000_000_000);

struct Bench {
    folder: tempfile::TempDir,
    limits: Limits,
}

impl Bench {
    fn new() -> Self {
        // In memory where that can be had: thousands of spools are synchronised.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self {
            folder: folder.unwrap(),
            limits: LIMITS,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn open(&self) -> Spool {
        Spool::open(&self.path(), self.limits).unwrap()
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
        all.sort();
        all
    }
}

/// The text of the batch of that number, of two records.
fn text(number: usize) -> String {
    let texts = [format!("{number} one"), format!("{number} two")];
    let written = [Written("web", 1, &texts[0]), Written("db", 2, &texts[1])];
    String::from_utf8(records(&written).text().to_vec()).unwrap()
}

fn append(spool: &mut Spool, number: usize) -> Result<Cursor, Refused> {
    let texts = [format!("{number} one"), format!("{number} two")];
    let written = [Written("web", 1, &texts[0]), Written("db", 2, &texts[1])];
    spool.append(&records(&written), NOW)
}

fn add(spool: &mut Spool, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        append(spool, number).unwrap();
        spool.commit().unwrap();
    }
}

/// Delivers everything that is left.
fn drain(spool: &mut Spool) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(records) = spool.read(NOW).unwrap() {
        texts.push(String::from_utf8(records.text().to_vec()).unwrap());
        spool.done().unwrap();
        assert!(texts.len() < 1000, "it comes again and again");
    }
    texts
}

fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(text).collect()
}

#[test]
fn what_goes_in_comes_out_in_order_across_restarts_and_leaves_nothing() {
    let bench = Bench::new();
    let mut spool = bench.open();
    add(&mut spool, 0..10);
    assert!(bench.files("segment").len() > 2, "in several segments");
    assert_eq!((spool.records(), spool.unread()), (20, 20));
    assert_eq!(spool.oldest(), Some(Time(1)));
    let first = spool.read(NOW).unwrap().unwrap();
    assert_eq!(
        (first.text(), spool.records(), spool.unread()),
        (text(0).as_bytes(), 20, 18)
    );
    // It was lent and not delivered: it comes again, also after a restart.
    let mut spool = bench.open();
    assert_eq!((spool.records(), spool.unread()), (20, 20));
    assert_eq!(spool.read(NOW).unwrap().unwrap().text(), text(0).as_bytes());
    spool.done().unwrap();
    let mut spool = bench.open();
    add(&mut spool, 10..12);
    assert_eq!((spool.records(), drain(&mut spool)), (22, texts(1..12)));
    assert_eq!(
        (spool.records(), spool.bytes(), spool.take_lost()),
        (0, 0, Lost::default())
    );
    assert_eq!(bench.files("segment"), Vec::<PathBuf>::new());
    assert_eq!(bench.files("damaged"), Vec::<PathBuf>::new());
    let mut spool = bench.open();
    add(&mut spool, [12]);
    assert_eq!(drain(&mut bench.open()), texts([12]));
}

#[test]
fn one_commit_is_enough_for_many_batches() {
    let bench = Bench::new();
    let mut spool = bench.open();
    for number in 0..10 {
        append(&mut spool, number).unwrap();
    }
    spool.commit().unwrap();
    spool.rest();
    assert!(bench.files("segment").len() > 2);
    assert_eq!(drain(&mut bench.open()), texts(0..10));
}

#[test]
fn frames_are_lent_together_up_to_a_size_and_not_over_a_damaged_place() {
    let mut bench = Bench::new();
    add(&mut bench.open(), 0..9);
    bench.limits.together = 3 * text(0).len() - 1;
    assert_eq!(
        drain(&mut bench.open()),
        [0..3, 3..6, 6..9].map(|numbers| texts(numbers).concat())
    );
    add(&mut bench.open(), 0..9);
    bench.limits.together = usize::MAX;
    let segment = bench.files("segment").remove(1);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    fs::write(segment, bytes).unwrap();
    let mut spool = bench.open();
    let delivered = drain(&mut spool);
    let lost = spool.take_lost();
    assert_eq!((delivered.len(), lost.places, lost.records), (2, 1, 2));
    let gone = delivered[0].len() / text(0).len();
    assert_eq!(delivered, [texts(0..gone).concat(), texts(gone + 1..9).concat()]);
}

#[test]
fn what_was_being_delivered_when_it_was_spooled_is_not_lent_again() {
    let bench = Bench::new();
    let mut spool = bench.open();
    let lent = append(&mut spool, 0).unwrap();
    append(&mut spool, 1).unwrap();
    spool.commit().unwrap();
    spool.lend(lent);
    assert_eq!((spool.records(), spool.unread()), (4, 2));
    assert_eq!(bench.open().records(), 4, "killed now, it would come again");
    spool.done().unwrap();
    assert_eq!((spool.records(), drain(&mut spool)), (2, texts([1])));
}

/// Every byte of a small spool in turn is cut off or changed.
#[test]
fn whatever_is_damaged_what_is_sound_is_used_and_the_rest_is_counted_and_set_aside() {
    let whole = Bench::new();
    let mut spool = whole.open();
    // The second segment is not full: it is the last one.
    add(&mut spool, 0..5);
    let segments = whole.files("segment");
    assert_eq!(segments.len(), 2, "the test is about two segments");
    let all = texts(0..5);
    for name in segments.iter().map(|path| path.file_name().unwrap()) {
        let sound = fs::read(whole.path().join(name)).unwrap();
        let cuts = (0..sound.len()).map(|at| sound[..at].to_vec());
        let changes = (0..sound.len()).map(|at| {
            let mut changed = sound.clone();
            changed[at] ^= 0x41;
            changed
        });
        for (number, damaged) in cuts.chain(changes).enumerate() {
            let bench = Bench::new();
            drop(bench.open());
            for path in &segments {
                fs::copy(path, bench.path().join(path.file_name().unwrap())).unwrap();
            }
            fs::write(bench.path().join(name), &damaged).unwrap();
            let mut spool = bench.open();
            let had = spool.records();
            add(&mut spool, [5]);
            let delivered = drain(&mut spool);
            let lost = spool.take_lost();
            // All that is sound, in order, and at most one frame is missing where one byte is.
            let mut expected = all.iter().chain([&delivered[delivered.len() - 1]]);
            assert!(
                delivered.iter().all(|text| expected.any(|other| other == text)),
                "{number}"
            );
            assert_eq!(delivered.last(), Some(&text(5)), "{number}");
            let is_changed = damaged.len() == sound.len();
            if is_changed {
                assert_eq!((delivered.len(), lost.places), (5, 1), "{number}");
                assert_eq!(bench.files("damaged").len(), 1, "{number}");
            }
            assert_eq!(had + 2, 2 * delivered.len() as u64 + lost.records, "{number}: {lost:?}");
            let is_last = name == segments[1].file_name().unwrap();
            if !is_last {
                assert_eq!(lost.records, 12 - 2 * delivered.len() as u64, "{number}");
            }
            assert_eq!((spool.records(), spool.bytes()), (0, 0), "{number}");
            // And it is over: nothing of it comes again.
            assert_eq!(drain(&mut bench.open()), Vec::<String>::new(), "{number}");
        }
    }
}

#[test]
fn a_damaged_cursor_repeats_and_loses_nothing() {
    let whole = Bench::new();
    let mut spool = whole.open();
    add(&mut spool, 0..6);
    for _ in 0..2 {
        spool.read(NOW).unwrap();
        spool.done().unwrap();
    }
    let sound = fs::read(whole.path().join("cursor")).unwrap();
    for at in 0..sound.len() {
        for is_cut in [true, false] {
            if !is_cut && (32..4096).contains(&at) {
                continue;
            }
            let bench = Bench::new();
            drop(bench.open());
            for path in whole.files("segment") {
                fs::copy(&path, bench.path().join(path.file_name().unwrap())).unwrap();
            }
            let mut damaged = sound.clone();
            if is_cut {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 0x41;
            }
            fs::write(bench.path().join("cursor"), damaged).unwrap();
            let mut spool = bench.open();
            let delivered = drain(&mut spool);
            assert!(delivered.ends_with(&texts(2..6)) && delivered.len() <= 6, "{at}");
            assert_eq!(spool.take_lost().cursors, u64::from(!is_cut || at > 0), "{at}");
        }
    }
}

#[test]
fn a_full_spool_refuses_and_has_room_again_when_a_segment_is_delivered() {
    let mut bench = Bench::new();
    bench.limits.max_bytes = 2500;
    let mut spool = bench.open();
    let mut added = 0;
    while append(&mut spool, added).is_ok() {
        spool.commit().unwrap();
        added += 1;
    }
    assert!(spool.bytes() <= 2500 && added > 5, "{added}");
    let mut delivered = 0;
    while append(&mut spool, added).is_err() {
        assert_eq!(spool.read(NOW).unwrap().unwrap().text(), text(delivered).as_bytes());
        spool.done().unwrap();
        delivered += 1;
    }
    spool.commit().unwrap();
    assert!(delivered < added, "not only when all is");
    assert_eq!(drain(&mut spool), texts(delivered..=added));
}

#[test]
fn room_is_made_by_dropping_what_waits_longest() {
    let bench = Bench::new();
    let mut spool = bench.open();
    add(&mut spool, 0..10);
    spool.read(NOW).unwrap();
    let mut dropped = spool.drop_oldest().0;
    assert_eq!(bench.open().records(), 20 - dropped, "a restart knows it");
    let next = dropped as usize / 2;
    assert_eq!(spool.read(NOW).unwrap().unwrap().text(), text(next).as_bytes());
    spool.done().unwrap();
    while spool.records() > 0 {
        let more = spool.drop_oldest().0;
        assert!(more > 0);
        dropped += more;
    }
    assert_eq!((dropped, spool.bytes()), (18, 0));
    add(&mut spool, [10]);
    assert_eq!(drain(&mut spool), texts([10]));
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let bench = Bench::new();
    let mut spool = bench.open();
    add(&mut spool, 0..3);
    let later = Time(NOW.0 + 7200 * 1_000_000_000);
    let young = [Written("web", 1, "young")];
    spool.append(&records(&young), later).unwrap();
    assert_eq!(spool.read(later).unwrap().unwrap().text(), records(&young).text());
    assert_eq!((spool.take_lost().aged, spool.unread()), (6, 0));
    spool.done().unwrap();
    assert_eq!(spool.records(), 0);
}

#[test]
fn a_frame_that_was_written_twice_is_delivered_once() {
    let bench = Bench::new();
    let mut spool = bench.open();
    add(&mut spool, 0..2);
    let segment = bench.files("segment").remove(0);
    // As if the disk had kept what was not acknowledged, and the frame had gone to the next segment.
    drop(spool);
    fs::copy(&segment, segment.with_file_name(format!("{:020}.segment", 4))).unwrap();
    let mut spool = bench.open();
    assert_eq!(drain(&mut spool), texts(0..2));
    assert_eq!(spool.take_lost(), Lost::default());
}
