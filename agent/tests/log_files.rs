//! A log driver's files in every state that users of other collectors reported to lose or to double lines. The driver is a
//! few lines of this file: it writes, rotates and removes as `json-file` does, and nothing waits for it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};

use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use log_capturer::capture::resume::{Position, Verdict};
use log_capturer::record::{ContainerId, Line, Since, Time};
use log_capturer::source::{FileStream, Files, Log, Mark, Progress, Trouble, Watcher};
use rustix::fs::inotify;
use tempfile::TempDir;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Writes as Docker's `json-file` does.
struct Driver {
    root: TempDir,
    keeps: usize,
    compresses: bool,
    file: File,
    written: u32,
    /// The time of the last record.
    last: String,
}

impl Driver {
    /// Keeps so many files, the one that is written to among them.
    fn new(keeps: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("containers").join(ID);
        fs::create_dir_all(&folder).unwrap();
        let host =
            format!(r#"{{"LogConfig":{{"Type":"json-file","Config":{{"max-size":"1m","max-file":"{keeps}"}}}}}}"#);
        fs::write(folder.join("hostconfig.json"), host).unwrap();
        fs::write(folder.join("config.v2.json"), r#"{"Config":{"Tty":false}}"#).unwrap();
        let file = File::create(folder.join(format!("{ID}-json.log"))).unwrap();
        Self {
            root,
            keeps,
            compresses: false,
            file,
            written: 0,
            last: Timestamp::UNIX_EPOCH.to_string(),
        }
    }

    fn path(&self, number: usize) -> PathBuf {
        let name = match number {
            0 => format!("{ID}-json.log"),
            number => format!("{ID}-json.log.{number}"),
        };
        self.root.path().join("containers").join(ID).join(name)
    }

    fn packed(&self, number: usize) -> PathBuf {
        let mut path = self.path(number).into_os_string();
        path.push(".gz");
        path.into()
    }

    fn raw(&mut self, text: &[u8]) {
        self.file.write_all(text).unwrap();
    }

    /// As the driver does, it reads the precise clock. A file's own times come from one that is up to a tick behind.
    fn record(&mut self, log: &str, stream: &str) {
        let time = Timestamp::now();
        self.last = time.to_string();
        let log = log.replace('\n', "\\n");
        self.raw(format!("{{\"log\":\"{log}\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n").as_bytes());
    }

    /// Lines with the numbers that follow.
    fn lines(&mut self, count: u32) {
        for _ in 0..count {
            self.written += 1;
            self.record(&format!("o {}\n", self.written), "stdout");
        }
    }

    /// As `loggerutils/logfile.go` does it.
    fn rotate(&mut self) {
        if self.compresses && self.file.metadata().unwrap().len() == 0 {
            // A file is only rotated when it is full.
            return;
        }
        let name = |driver: &Self, number: usize| {
            let packed = driver.packed(number);
            if packed.exists() { packed } else { driver.path(number) }
        };
        let _ = fs::remove_file(name(self, self.keeps.max(2) - 1));
        for number in (1..self.keeps.max(2) - 1).rev() {
            let from = name(self, number);
            let packed = from.extension().is_some_and(|extension| extension == "gz");
            let to = if packed {
                self.packed(number + 1)
            } else {
                self.path(number + 1)
            };
            let _ = fs::rename(from, to);
        }
        if self.keeps > 1 {
            fs::rename(self.path(0), self.path(1)).unwrap();
        } else {
            fs::remove_file(self.path(0)).unwrap();
        }
        self.file = File::create(self.path(0)).unwrap();
        if self.compresses {
            let plain = fs::read(self.path(1)).unwrap();
            let last = &self.last;
            let packed = File::create(self.packed(1)).unwrap();
            let mut packer = GzBuilder::new()
                .extra(format!(r#"{{"lastTime":"{last}"}}"#))
                .write(packed, Compression::fast());
            packer.write_all(&plain).unwrap();
            packer.finish().unwrap();
            fs::remove_file(self.path(1)).unwrap();
        }
    }
}

/// Reads as the agent does: what a position knows is taken once.
struct Reader {
    watcher: Watcher,
    files: Files,
    position: Position,
    stream: Option<FileStream>,
    replay: Option<log_capturer::capture::resume::Replay>,
    lines: Vec<String>,
    troubles: Vec<Trouble>,
    gaps: usize,
}

impl Reader {
    fn new(root: &Path) -> Self {
        let watcher = Watcher::new().unwrap();
        tokio::spawn(watcher.clone().run());
        Self {
            files: Files::new(root, watcher.clone(), 1 << 20, true),
            watcher,
            position: Position::default(),
            stream: None,
            replay: None,
            lines: Vec::new(),
            troubles: Vec::new(),
            gaps: 0,
        }
    }

    /// Opens the log where it was left off. Tells whether that is its beginning.
    fn open(&mut self) -> bool {
        let mark: Option<Mark> = self.position.mark();
        let found = self.files.find(&ContainerId::new(ID)).unwrap();
        let (stream, from_beginning) = found.open(mark, None).unwrap();
        self.stream = Some(stream);
        let since = if from_beginning {
            Since::Beginning
        } else {
            Since::Tail {
                records: u32::MAX,
                or_since: Time(0),
            }
        };
        self.replay = self.position.replay(since);
        from_beginning
    }

    /// Lets the kernel's events come, and reads all there is. Tells whether the log has ended.
    async fn read(&mut self) -> bool {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let stream = self.stream.as_mut().expect("opened");
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let Self {
                position,
                replay,
                lines,
                gaps,
                ..
            } = self;
            let mut take = |line: Line<'_>| {
                let verdict = replay.as_mut().map_or(Verdict::New, |replay| replay.judge(&line));
                match verdict {
                    Verdict::Seen => return,
                    Verdict::New => {}
                    _ => *gaps += 1,
                }
                position.note(&line);
                lines.push(String::from_utf8(line.bytes.to_vec()).unwrap());
            };
            let read = stream.poll_read(&mut cx, |_| Poll::Ready(64 * 1024), &mut take);
            self.troubles.extend(stream.trouble());
            if let Some(mark) = stream.mark() {
                self.position.set_mark(mark);
            }
            match read {
                Poll::Pending => return false,
                Poll::Ready(Ok(Progress::Ended)) => return true,
                Poll::Ready(Ok(Progress::Read(_))) => {}
                Poll::Ready(Err(fault)) => panic!("{fault}"),
            }
        }
    }

    /// Every line up to this number, once and in order, and nothing wrong.
    fn assert_exact(&self, written: u32) {
        let expected: Vec<String> = (1..=written).map(|number| format!("o {number}")).collect();
        assert_eq!((&self.troubles[..], self.gaps), (&[][..], 0));
        assert_eq!(self.lines.len(), expected.len());
        assert_eq!(self.lines, expected);
    }
}

#[tokio::test]
async fn a_small_file_and_its_rotations_are_read_in_order() {
    let mut driver = Driver::new(10);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(1);
    reader.open();
    reader.read().await;
    // Several rotations between two looks, and a file with nothing in it.
    for lines in [3, 1, 0, 2, 5] {
        driver.rotate();
        driver.lines(lines);
    }
    reader.read().await;
    driver.lines(1);
    reader.read().await;
    reader.assert_exact(driver.written);
}

#[tokio::test]
async fn what_the_driver_removes_is_read_through_the_open_file() {
    for keeps in [1, 2, 3] {
        let mut driver = Driver::new(keeps);
        let mut reader = Reader::new(driver.root.path());
        reader.open();
        for round in 0..20 {
            driver.lines(round % 4);
            driver.rotate();
            driver.lines(2);
            reader.read().await;
        }
        reader.assert_exact(driver.written);
    }
}

#[tokio::test]
async fn files_that_were_removed_before_anybody_looked_are_told() {
    for keeps in [1, 2, 3] {
        let mut driver = Driver::new(keeps);
        let mut reader = Reader::new(driver.root.path());
        driver.lines(5);
        reader.open();
        reader.read().await;
        for _ in 0..keeps + 2 {
            driver.rotate();
            driver.lines(5);
        }
        reader.read().await;
        assert_eq!(reader.troubles, [Trouble::FilesMissing], "{keeps}");
        let last = format!("o {}", driver.written);
        assert_eq!(reader.lines.last(), Some(&last));
        let mut sorted = reader.lines.clone();
        sorted.dedup();
        assert_eq!(sorted.len(), reader.lines.len(), "none twice");
    }
}

#[tokio::test]
async fn a_log_is_read_on_after_any_number_of_rotations_while_nobody_read() {
    for (compresses, rotations) in [(false, 0), (false, 1), (false, 4), (true, 1), (true, 4)] {
        let mut driver = Driver::new(10);
        driver.compresses = compresses;
        let mut reader = Reader::new(driver.root.path());
        reader.open();
        for _ in 0..2 {
            driver.lines(100);
            reader.read().await;
        }
        reader.stream = None;
        for _ in 0..rotations {
            driver.lines(40);
            driver.rotate();
        }
        driver.lines(40);
        let from_beginning = reader.open();
        assert_eq!(from_beginning, compresses, "a file that is packed is another one");
        reader.read().await;
        reader.assert_exact(driver.written);
    }
}

#[tokio::test]
async fn a_file_at_the_place_of_the_one_that_was_read_is_not_taken_for_it() {
    let mut driver = Driver::new(3);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(100);
    reader.open();
    reader.read().await;
    reader.stream = None;
    // Written anew in place: the same inode, the same length, other bytes before the mark.
    let length = fs::metadata(driver.path(0)).unwrap().len();
    driver.file = File::create(driver.path(0)).unwrap();
    while fs::metadata(driver.path(0)).unwrap().len() < length {
        driver.lines(10);
    }
    assert!(reader.open(), "from its beginning");
    reader.read().await;
    assert_eq!(reader.gaps, 1, "the lines before did not come again");
    assert_eq!(reader.lines.last(), Some(&format!("o {}", driver.written)));
}

#[tokio::test]
async fn a_truncated_file_is_told_and_read_on_however_it_grows_again() {
    for (regrows, hole) in [(false, false), (true, false), (false, true)] {
        let mut driver = Driver::new(3);
        let mut reader = Reader::new(driver.root.path());
        driver.lines(300);
        reader.open();
        reader.read().await;
        driver.file.set_len(0).unwrap();
        if !hole {
            // A driver that appends goes on at the start.
            driver.file = File::options().append(true).open(driver.path(0)).unwrap();
        }
        driver.lines(if regrows { 900 } else { 3 });
        reader.read().await;
        assert_eq!(
            reader.troubles.iter().max(),
            Some(&Trouble::Truncated),
            "{regrows} {hole}"
        );
        let expected: Vec<String> = (1..=driver.written).map(|number| format!("o {number}")).collect();
        assert_eq!(reader.lines, expected, "{regrows} {hole}");
    }
}

#[tokio::test]
async fn half_a_record_waits_for_its_rest_and_damage_is_told_with_its_place() {
    let mut driver = Driver::new(3);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(1);
    driver.raw(b"{\"log\":\"o 2\\n\",\"str");
    reader.open();
    reader.read().await;
    reader.assert_exact(1);
    driver.raw(b"eam\":\"stdout\",\"time\":\"2026-11-20T15:00:02.5Z\"}\n");
    reader.read().await;
    reader.assert_exact(2);
    let offset = fs::metadata(driver.path(0)).unwrap().len();
    driver.raw(b"\0\0\0\0\0\0\0\0garbage\n");
    driver.written = 2;
    driver.lines(2);
    reader.read().await;
    assert_eq!(reader.lines.len(), 4);
    assert_eq!(reader.troubles, [Trouble::Damaged { offset, bytes: 16 }]);
}

#[tokio::test]
async fn parts_of_a_line_are_put_together_across_a_rotation_and_between_two_streams() {
    let mut driver = Driver::new(5);
    let mut reader = Reader::new(driver.root.path());
    reader.open();
    let part = "x".repeat(16 * 1024);
    driver.record(&part, "stdout");
    driver.record(&part, "stderr");
    reader.read().await;
    driver.rotate();
    driver.record("end\n", "stderr");
    // The reader is ended in the middle of the line, and goes on where it began.
    reader.stream = None;
    reader.open();
    reader.read().await;
    driver.record("END\n", "stdout");
    driver.lines(1);
    reader.read().await;
    assert_eq!(
        reader.lines,
        [format!("{part}end"), format!("{part}END"), "o 1".to_owned()]
    );
    assert_eq!((&reader.troubles[..], reader.gaps), (&[][..], 0));
}

#[tokio::test]
async fn a_removed_container_is_read_to_its_end_and_lets_the_disk_go() {
    let mut driver = Driver::new(3);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(1000);
    reader.open();
    fs::remove_dir_all(driver.root.path().join("containers").join(ID)).unwrap();
    driver.record("the end", "stdout");
    let stream = reader.stream.as_mut().unwrap();
    stream.container_is_over();
    assert!(reader.read().await, "it has ended");
    let stream = reader.stream.as_mut().unwrap();
    let mut last = Vec::new();
    stream.finish(&mut |line| last.push(line.bytes.to_vec())).unwrap();
    assert_eq!(last, [b"the end".to_vec()], "without its line feed");
    reader.assert_exact(1000);
    reader.stream = None;
    assert_eq!(reader.files.held(), 0);
}

#[tokio::test]
async fn whatever_the_driver_does_between_two_looks_no_line_is_lost_or_doubled() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        // More files than there can be rotations between two looks.
        let mut driver = Driver::new(8);
        driver.compresses = seed % 2 == 1;
        let mut reader = Reader::new(driver.root.path());
        reader.open();
        for _ in 0..60 {
            match random.u32(0..10) {
                0..5 => driver.lines(random.u32(0..80)),
                5..7 => {
                    driver.rotate();
                    reader.read().await;
                }
                7 => {
                    reader.stream = None;
                    driver.lines(random.u32(0..200));
                    driver.rotate();
                    driver.lines(random.u32(0..200));
                    reader.open();
                }
                _ => {
                    reader.read().await;
                }
            }
        }
        reader.read().await;
        let expected: Vec<String> = (1..=driver.written).map(|number| format!("o {number}")).collect();
        assert_eq!(reader.lines.len(), expected.len(), "seed {seed}");
        assert_eq!(reader.lines, expected, "seed {seed}");
        assert_eq!((&reader.troubles[..], reader.gaps), (&[][..], 0), "seed {seed}");
    }
}

/// More events than `fs.inotify.max_queued_events` lets wait: of two folders in turn, as only equal ones in a row are one.
#[tokio::test]
async fn a_queue_of_events_that_overflows_costs_no_line_and_no_rotation() {
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut driver = Driver::new(5);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(10);
    reader.open();
    reader.read().await;
    let others = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let _watches = others
        .each_ref()
        .map(|other| reader.watcher.watch(other.path(), "other"));
    let mut files = others
        .each_ref()
        .map(|other| File::create(other.path().join("other")).unwrap());
    let witness = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    for other in &others {
        inotify::add_watch(&witness, other.path(), inotify::WatchFlags::MODIFY).unwrap();
    }
    for _ in 0..limit / 2 + 1000 {
        files.iter_mut().for_each(|file| file.write_all(b"x").unwrap());
    }
    // Nobody is told of these: too few lines to make the log a busy one, which is looked at without being told.
    for _ in 0..3 {
        driver.lines(3);
        driver.rotate();
    }
    let mut buffer = vec![std::mem::MaybeUninit::uninit(); 64 * 1024];
    let mut events = inotify::Reader::new(witness, &mut buffer);
    let has_overflown = std::iter::from_fn(|| Some(events.next().ok()?.events()))
        .any(|events| events.contains(inotify::ReadFlags::QUEUE_OVERFLOW));
    assert!(has_overflown, "a queue has room for all of it");
    reader.read().await;
    reader.assert_exact(driver.written);
    // And the queue tells again.
    driver.rotate();
    driver.lines(10);
    reader.read().await;
    reader.assert_exact(driver.written);
}

#[tokio::test]
async fn the_reader_of_a_file_that_was_idle_is_woken_by_its_next_line() {
    let mut driver = Driver::new(3);
    let mut reader = Reader::new(driver.root.path());
    driver.lines(1);
    reader.open();
    reader.read().await;
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let stream = reader.stream.as_mut().unwrap();
        let woken = std::future::poll_fn(|cx| stream.poll_read(cx, |_| Poll::Ready(64 * 1024), &mut |_| {}));
        let mut woken = std::pin::pin!(woken);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(woken.as_mut().poll(&mut cx).is_pending(), "nothing is there");
        driver.lines(1);
        let progress = tokio::time::timeout(std::time::Duration::from_secs(5), woken).await;
        assert!(
            matches!(progress, Ok(Ok(Progress::Read(_)))),
            "nobody was woken: {progress:?}"
        );
    }
}
