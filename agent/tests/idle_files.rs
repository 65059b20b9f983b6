//! A thousand logs that nobody writes to. By itself, as it measures the process.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use log_capturer::record::ContainerId;
use log_capturer::source::{Files, Log as _, Watcher};

/// What a runtime with a thousand idle logs does in two seconds: the timer for files without a watch, and nothing else.
#[test]
fn a_thousand_idle_files_wake_nobody_and_take_little_memory() {
    const FILES: usize = 1000;
    let resident = || {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    };
    let root = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..FILES).map(|number| format!("{number:064x}")).collect();
    for id in &ids {
        let folder = root.path().join("containers").join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("hostconfig.json"),
            r#"{"LogConfig":{"Type":"json-file","Config":{}}}"#,
        )
        .unwrap();
        fs::write(folder.join("config.v2.json"), r#"{"Config":{"Tty":false}}"#).unwrap();
        let line = "{\"log\":\"a line\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-20T15:00:00.5Z\"}\n";
        fs::write(folder.join(format!("{id}-json.log")), line).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let watcher = Watcher::new().unwrap();
        tokio::spawn(watcher.clone().run());
        let files = Files::new(root.path(), watcher, 1 << 20, true);
        let read = Arc::new(AtomicUsize::new(0));
        let open = |id: &String| {
            let found = files.find(&ContainerId::new(id)).unwrap();
            let (mut stream, _) = found.open(None, None).unwrap();
            let read = Arc::clone(&read);
            async move {
                loop {
                    let progress = std::future::poll_fn(|cx| {
                        stream.poll_read(cx, |_| Poll::Ready(64 * 1024), &mut |_| {
                            read.fetch_add(1, Ordering::Relaxed);
                        })
                    });
                    progress.await.unwrap();
                }
            }
        };
        // The buffer that all share, and whatever else the first one takes.
        tokio::spawn(open(&ids[0]));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = resident();
        for id in &ids[1..] {
            tokio::spawn(open(id));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(read.load(Ordering::Relaxed), FILES);
        let each = resident().saturating_sub(before) / (FILES as u64 - 1);
        assert!(each <= 4096, "{each} bytes for an idle file");

        let wakes = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches"))
                .unwrap();
            line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
        };
        let begin = wakes();
        let time = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let allowed = 2 + 2 * time.elapsed().as_secs();
        let woken = wakes() - begin;
        assert!(woken <= allowed, "woken {woken} times in {:?}", time.elapsed());
    });
}
