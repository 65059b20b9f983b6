//! The account of every line adds up, for each container and sink, and says so when a line may be missing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use integration::agent::{Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::store::{Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};
use serde_json::Value;

use super::loki::{sink, write};

/// What `log-capturer account --json` printed, and its exit code.
struct Account {
    page: Value,
    exit: Option<i32>,
}

impl Account {
    fn of(agent: &Agent) -> Self {
        let output = agent.ask(&["account", "--json"]);
        Self {
            page: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            exit: output.status.code(),
        }
    }

    fn container(&self, name: &str) -> Option<&Value> {
        let rows = self.page["containers"].as_array()?;
        rows.iter().find(|row| row["container"] == name)
    }

    /// The container's lines at a sink.
    fn places(&self, name: &str, sink: &str) -> Option<&Value> {
        let sinks = self.container(name)?["sinks"].as_array()?;
        sinks.iter().find(|row| row["sink"] == sink)
    }

    fn count(&self, name: &str, sink: &str, place: &str) -> i64 {
        let places = self.places(name, sink);
        places.and_then(|places| places[place].as_i64()).unwrap_or_default()
    }

    /// Lines that came from the log for the first time.
    fn taken(&self, name: &str) -> i64 {
        let of = |key: &str| {
            self.container(name)
                .and_then(|row| row[key].as_i64())
                .unwrap_or_default()
        };
        of("read") - of("deduplicated")
    }

    /// The sum is made anew here, of what the command printed.
    #[track_caller]
    fn assert_adds_up(&self) {
        let rows = self.page["containers"].as_array().expect("rows of containers");
        for row in rows {
            for places in row["sinks"].as_array().expect("rows of sinks") {
                let of = |key: &str| places[key].as_i64().unwrap_or_else(|| panic!("no {key} in {places}"));
                let known: i64 = ["delivered", "dropped", "dead", "spooled", "waiting", "before"]
                    .map(of)
                    .iter()
                    .sum();
                let read = row["read"].as_i64().expect("read") + of("earlier");
                let deduplicated = row["deduplicated"].as_i64().expect("deduplicated");
                assert_eq!(read, known + deduplicated, "{row}");
                assert_eq!(of("difference"), 0, "{row}");
            }
        }
        assert!(
            self.page["adds_up"] == true && self.exit == Some(0),
            "{}, exit {:?}",
            self.page,
            self.exit
        );
    }
}

fn wait_taken(agent: &Agent, name: &str, lines: usize) {
    wait::until(&format!("{lines} lines of {name} in the account"), 2 * PATIENCE, || {
        (Account::of(agent).taken(name) >= lines as i64).then_some(())
    });
}

fn wait_count(agent: &Agent, name: &str, place: &str, lines: usize) {
    wait::until(
        &format!("{lines} lines of {name} {place} at main"),
        2 * PATIENCE,
        || (Account::of(agent).count(name, "main", place) == lines as i64).then_some(()),
    );
}

/// Records in the engine's own files of a container.
fn in_the_files(engine: &Engine, name: &str) -> usize {
    let path = engine
        .docker(&["inspect", "--format", "{{.LogPath}}", name])
        .expect("docker inspect");
    let folder = Path::new(path.trim())
        .parent()
        .expect("the folder of the log")
        .to_owned();
    let files = fs::read_dir(folder).expect("its files").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().contains("-json.log"));
    let records = |file: fs::DirEntry| {
        fs::read(file.path())
            .expect("a log")
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
    };
    logs.map(records).sum()
}

#[test]
fn it_adds_up_during_load_and_at_rest_for_two_sinks_of_which_one_is_dead() {
    const LINES: usize = 20_000;
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    let agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_ready();
    for name in ["north", "south"] {
        write(&engine, name, LINES, "0.3");
    }
    wait_taken(&agent, "north", 2_000);
    loki.set(Fault::Down);
    let mut looks = 0;
    while Account::of(&agent).taken("north") < LINES as i64 || Account::of(&agent).taken("south") < LINES as i64 {
        Account::of(&agent).assert_adds_up();
        looks += 1;
    }
    println!("{looks} looks during load");
    assert!(looks > 5);
    wait::until("nothing to wait in memory", PATIENCE, || {
        let account = Account::of(&agent);
        let waits = |name| account.count(name, "main", "waiting") + account.count(name, "file", "waiting");
        (waits("north") + waits("south") == 0).then_some(())
    });
    let account = Account::of(&agent);
    account.assert_adds_up();
    for name in ["north", "south"] {
        assert_eq!(account.count(name, "file", "delivered"), LINES as i64);
        let [delivered, spooled] = ["delivered", "spooled"].map(|place| account.count(name, "main", place));
        assert!(
            spooled > 10_000 && delivered + spooled == LINES as i64,
            "{delivered} + {spooled}"
        );
    }
    let shown = agent.ask(&["account"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("\nadds up: ") && shown.status.code() == Some(0), "{text}");
    loki.set(Fault::None);
    for name in ["north", "south"] {
        wait_count(&agent, name, "delivered", LINES);
    }
    Account::of(&agent).assert_adds_up();
    assert_eq!(loki.lines("north").len(), LINES);
}

#[test]
fn it_goes_on_across_sigkill_and_sigterm_with_what_each_sink_really_has() {
    const LINES: usize = 30_000;
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", LINES, "0.4");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    wait_taken(&agent, "web", 1_000);
    for (number, fault) in [
        Fault::Down,
        Fault::None,
        Fault::Slow(Duration::from_millis(500)),
        Fault::Down,
        Fault::None,
    ]
    .into_iter()
    .enumerate()
    {
        loki.set(fault);
        std::thread::sleep(Duration::from_millis(1_500));
        if number % 2 == 0 {
            agent.kill();
        } else {
            agent.signal(Signal::TERM);
            assert_eq!(agent.wait_exit(STOP).code(), Some(0), "{}", agent.stderr());
        }
        agent.start_again();
        wait::until("an account", PATIENCE, || {
            (Account::of(&agent).exit? != 1).then_some(())
        });
        Account::of(&agent).assert_adds_up();
    }
    wait_taken(&agent, "web", LINES);
    wait_count(&agent, "web", "delivered", LINES);
    let account = Account::of(&agent);
    account.assert_adds_up();
    assert_eq!(account.taken("web"), LINES as i64);
    for place in ["spooled", "waiting", "dropped", "earlier", "before"] {
        assert_eq!(account.count("web", "main", place), 0, "{place}");
    }
    assert_eq!(account.count("web", "file", "delivered"), LINES as i64);
    assert_eq!((agent.records(), loki.lines("web").len()), (LINES, LINES));
    // A removed container is told of until others are.
    engine.docker(&["rm", "--force", "web"]).expect("docker rm");
    wait::until("the container to be told of as removed", PATIENCE, || {
        (Account::of(&agent).container("web")?["removed"] == true).then_some(())
    });
    agent.stop();
    agent.start_again();
    agent.wait_ready();
    let account = Account::of(&agent);
    account.assert_adds_up();
    assert_eq!(
        (account.taken("web"), account.count("web", "main", "delivered")),
        (LINES as i64, LINES as i64)
    );
}

#[test]
fn a_gap_stands_in_it_with_the_containers_name_and_exit_code_3() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo $n; [ $n -eq 200 ] && sleep 4; done; sleep 3600";
    engine.run_script("web", &["--log-opt=max-size=20k", "--log-opt=max-file=2"], script);
    engine.run_script("whole", &[], "echo one; sleep 3600");
    let mut agent = Launch::on(engine.socket()).source("files").start();
    wait_taken(&agent, "web", 200);
    Account::of(&agent).assert_adds_up();
    agent.kill();
    // What was read is deleted, and more with it.
    wait::until("the log to have rotated away", PATIENCE, || {
        (!engine.docker(&["logs", "web"]).ok()?.starts_with("1\n")).then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    agent.start_again();
    wait_taken(&agent, "web", 300);
    let account = Account::of(&agent);
    assert_eq!(
        (account.exit, &account.page["adds_up"]),
        (Some(3), &Value::Bool(true)),
        "{}",
        account.page
    );
    assert_eq!(account.page["gaps"], 1);
    assert_eq!(account.container("web").expect("its row")["gaps"], 1);
    let text = String::from_utf8_lossy(&agent.ask(&["account"]).stdout).into_owned();
    assert!(
        text.contains("web: lines may be missing at 1 places") && !text.contains("whole: "),
        "{text}"
    );
    // It stands after another restart, too.
    agent.stop();
    agent.start_again();
    agent.wait_ready();
    assert_eq!(Account::of(&agent).exit, Some(3));
}

#[test]
fn what_is_taken_from_files_is_what_is_in_them() {
    const LINES: usize = 40_000;
    needs!(requirements::engine());
    let engine = Engine::start();
    for (name, size) in [("one", "100m"), ("many", "100k")] {
        let size = format!("--log-opt=max-size={size}");
        let script = format!(
            "n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo $n; [ $((n % 4000)) -eq 0 ] && sleep 0.3; done; sleep 3600"
        );
        engine.run_script(name, &[&size, "--log-opt=max-file=100"], &script);
    }
    let mut agent = Launch::on(engine.socket()).source("files").start();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        agent.kill();
        agent.start_again();
    }
    for name in ["one", "many"] {
        wait_taken(&agent, name, LINES);
    }
    agent.wait_ready();
    let account = Account::of(&agent);
    account.assert_adds_up();
    for name in ["one", "many"] {
        assert_eq!(account.taken(name), in_the_files(&engine, name) as i64, "{name}");
        assert_eq!(account.count(name, "file", "delivered"), LINES as i64);
    }
    assert_eq!(agent.records(), 2 * LINES);
}
