//! `cargo xtask test`: every test, with an account of those that this machine cannot run.

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::account::{Account, Said};
use crate::build_ebpf::build_ebpf;
use crate::fuzz::{self, Fuzzer};
use crate::setup::dockerd::{Dockerd, Which};
use crate::setup::{self, Part};
use crate::vm::{self, Machine};
use crate::{cargo, engines, say};

pub fn test(engine: Which, filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(&[
        Part::KernelHalf,
        Part::Engine,
        Part::Podman,
        Part::Witnesses,
        Part::Collector,
        Part::Emulator,
        Part::Fuzzer,
    ]);
    let mut account = Account::default();
    say::step("building the kernel half");
    if let Err(error) = build_ebpf(cargo::root(), None) {
        account
            .unable
            .insert(format!("the kernel half: it was not built: {error:#}"));
    }
    say::step("building the agent");
    let agent = cargo::build_agent()?;
    let kernel_tests = vm::build_tests()?;
    let dockerd = (engine != Which::Installed).then(|| Dockerd::get(engine)).transpose()?;

    // What computes runs behind the tests, which wait: at a lower priority, so that it takes what they leave.
    let background = [
        thread::spawn({
            let filter = filter.map(str::to_owned);
            move || timed("the virtual machine", || in_machine(&kernel_tests, filter.as_deref()))
        }),
        thread::spawn({
            let (agent, filter) = (agent.clone(), filter.map(str::to_owned));
            let wanted = engine == Which::Installed;
            move || {
                timed("a newer engine", || match wanted {
                    true => engines::every_day(&agent, filter.as_deref()),
                    false => (true, Account::default()),
                })
            }
        }),
        thread::spawn({
            let targets = fuzz_targets(filter);
            move || timed("the fuzz targets", || fuzzing(&targets))
        }),
    ];
    let mut passed = timed("the tests", || -> Result<bool> {
        say::step("building and running the tests");
        let mut tests = cargo::cargo();
        if let Some(dockerd) = &dockerd {
            say::step(&format!("their engine is {dockerd}"));
            dockerd.use_in(&mut tests)?;
        }
        let mut child = tests
            .args(["test", "--no-fail-fast", "--"])
            .args(filter)
            .arg(format!("--test-threads={}", cargo::test_threads()))
            .env("LOG_CAPTURER_BIN", &agent)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = Said::by(&mut child)?;
        account.follow(said, |_| ());
        Ok(child.wait()?.success())
    })?;
    for part in background {
        let (part_passed, of_part) = part.join().expect("what runs tests does not panic");
        passed &= part_passed;
        account.add(of_part);
    }

    account.print();
    // Elsewhere a machine may be unable to; where all is required, that is a failure.
    let required = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    Ok(if passed && (account.unable.is_empty() || !required) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says how long it took: that is where the time of a run goes.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    say::step(&format!("{what}: {} s", start.elapsed().as_secs()));
    result
}

/// The targets that are asked for.
fn fuzz_targets(filter: Option<&str>) -> Vec<&'static str> {
    let is_asked = |target: &&str| filter.is_none_or(|filter| format!("fuzz {target}").contains(filter));
    fuzz::TARGETS.into_iter().filter(is_asked).collect()
}

/// A short search for input that fails, for each of these targets.
fn fuzzing(targets: &[&str]) -> (bool, Account) {
    const SECONDS: u32 = 5;
    // The same way each time: what is tested is a change. `cargo xtask fuzz` goes new ones.
    const SEED: u32 = 1;
    let mut account = Account::default();
    if targets.is_empty() {
        return (true, account);
    }
    let fuzzer = match Fuzzer::build(cargo::patient_cargo()) {
        Ok(fuzzer) => fuzzer,
        Err(error) => {
            account.unable.insert(format!("the fuzz targets: {error:#}"));
            return (true, account);
        }
    };
    for target in targets {
        let searched = fuzzer.search(target, SECONDS, SEED);
        account.count(searched.is_ok());
        if let Err(error) = searched {
            say::step(&format!("error: {error:#}"));
        }
    }
    (account.failed == 0, account)
}

/// The kernel half's tests once more, on a kernel that is not the host's.
fn in_machine(tests: &Path, filter: Option<&str>) -> (bool, Account) {
    let mut account = Account::default();
    let machine = match Machine::find() {
        Ok(machine) => machine,
        Err(error) => {
            let what = "the kernel tests in a virtual machine";
            account.unable.insert(format!("{what}: {error:#}"));
            return (true, account);
        }
    };
    let passed = machine
        .test(tests, None, filter.as_slice(), &mut account)
        .unwrap_or_else(|error| {
            say::step(&format!("error: {error:#}"));
            account.failed += 1;
            false
        });
    (passed, account.named("in the virtual machine"))
}
