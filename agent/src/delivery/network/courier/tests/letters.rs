//! Dead letters: what a store refuses for good, and what comes of it when it is sent again.

use super::*;

/// Refuses the lines that `is_bad`, and keeps the others.
fn refusing(lines: &[&str], is_bad: impl Fn(&str) -> bool) -> Turn {
    let good: Vec<bool> = lines.iter().map(|line| !is_bad(line)).collect();
    if good.iter().all(|good| *good) {
        Turn::Keep
    } else {
        Turn::KeepSome(good, 400, "something about an entry".to_owned())
    }
}

#[tokio::test]
async fn what_is_refused_is_kept_and_sent_again_when_asked_and_only_what_is_stored_goes() {
    let bad = Arc::new(Mutex::new(vec!["line 7", "line 8"]));
    let said = Arc::clone(&bad);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead-letters");
    let (rig, dead) = rig_with(&Auth::default(), Some((&path, 1 << 20)), move |_, lines| {
        refusing(lines, |line| said.lock().unwrap().contains(&line))
    })
    .await;
    let dead = dead.unwrap();
    rig.push(&numbered(1000)).await;
    let count = async || dead.count(Some("main".to_owned())).await.unwrap();
    assert_eq!(count().await, 2);
    assert_eq!(rig.metrics.dead.with_label_values(&["main", "refused"]).get(), 2);
    assert_eq!((delivered(&rig.metrics), rig.metrics.letters.get()), (998, 2));
    // Still refused: nothing goes.
    let replayed = dead.replay(None).await.unwrap();
    assert_eq!((replayed.stored, replayed.refused, count().await), (0, 2, 2));
    bad.lock().unwrap().remove(0);
    let replayed = dead.replay(Some("main")).await.unwrap();
    assert_eq!((replayed.stored, replayed.refused, count().await), (1, 1, 1));
    assert_eq!(dead.replay(Some("other")).await.unwrap(), Replayed::default());
    bad.lock().unwrap().clear();
    let replayed = dead.replay(None).await.unwrap();
    assert_eq!((replayed.stored, replayed.refused, count().await), (1, 0, 0));
    assert_eq!(rig.metrics.letters.get(), 0);
    // Each of them was counted once.
    assert_eq!(rig.metrics.dead.with_label_values(&["main", "refused"]).get(), 2);
    let (metrics, kept) = rig.end().await;
    assert_eq!((delivered(&metrics), dropped(&metrics, "refused")), (998, 0));
    let mut expected = numbered(1000);
    let moved: Vec<_> = expected.drain(7..9).collect();
    expected.extend(moved);
    assert_eq!(distinct(kept), expected);
}

#[tokio::test]
async fn a_file_with_a_letter_that_cannot_be_read_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead-letters");
    let (rig, dead) = rig_with(&Auth::default(), Some((&path, 1 << 20)), |_, lines| {
        refusing(lines, |line| line.ends_with('7'))
    })
    .await;
    rig.push(&numbered(30)).await;
    rig.end().await;
    let [file] = &dead.unwrap().list().await.unwrap()[..] else {
        panic!("one file")
    };
    let file = path.join(format!("{}.{:016}", file.sink, file.number));
    let mut letters = fs::read(&file).unwrap();
    *letters.last_chunk_mut::<2>().unwrap() = *b"x\n";
    fs::write(&file, &letters).unwrap();
    let (rig, dead) = rig_with(&Auth::default(), Some((&path, 1 << 20)), |_, _| Turn::Keep).await;
    let dead = dead.unwrap();
    let replayed = dead.replay(None).await.unwrap();
    assert_eq!((replayed.stored, dead.count(None).await.unwrap()), (2, 0));
    assert!(!file.exists());
    assert_eq!(fs::read(path.join("damaged")).unwrap(), letters);
    rig.end().await;
}

#[tokio::test]
async fn letters_outlive_the_agent_and_what_finds_no_room_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead-letters");
    // Enough for one or two.
    let (rig, dead) = rig_with(&Auth::default(), Some((&path, 600)), |_, lines| {
        refusing(lines, |line| line.ends_with('7'))
    })
    .await;
    rig.push(&numbered(100)).await;
    let dead = dead.unwrap();
    let kept = dead.count(None).await.unwrap();
    assert!((1..=2).contains(&kept), "{kept}");
    let (metrics, _) = rig.end().await;
    assert_eq!(metrics.dead.with_label_values(&["main", "refused"]).get(), kept as u64);
    assert_eq!(dropped(&metrics, "refused"), 10 - kept as u64);
    let (rig, dead) = rig_with(&Auth::default(), Some((&path, 600)), |_, _| Turn::Keep).await;
    let dead = dead.unwrap();
    assert_eq!(
        (dead.count(None).await.unwrap(), rig.metrics.letters.get()),
        (kept, kept as i64)
    );
    let replayed = dead.replay(None).await.unwrap();
    assert_eq!((replayed.stored, dead.count(None).await.unwrap()), (kept, 0));
    rig.end().await;
}
