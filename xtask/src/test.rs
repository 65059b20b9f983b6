//! `cargo xtask test`: every test, with an account of those that this machine cannot run.

use std::process::{ExitCode, Stdio};
use std::thread;

use anyhow::Result;

use crate::account::{Account, Said};
use crate::build_ebpf::build_ebpf;
use crate::fuzz::{self, Fuzzer};
use crate::setup::{self, Part};
use crate::vm::Machine;
use crate::{cargo, say};

pub fn test(filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(&[
        Part::KernelHalf,
        Part::Engine,
        Part::Podman,
        Part::Witnesses,
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

    // Meanwhile: the tests wait more than they compute.
    let targets = fuzz_targets(filter);
    let fuzzer = (!targets.is_empty()).then(|| thread::spawn(|| Fuzzer::build(cargo::patient_cargo())));
    say::step("building and running the tests");
    let mut child = cargo::cargo()
        .args(["test", "--no-fail-fast", "--"])
        .args(filter)
        .env("LOG_CAPTURER_BIN", agent)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = Said::by(&mut child)?;
    account.follow(said, |_| ());
    let passed = child.wait()?.success();
    let passed_in_machine = in_machine(filter, &mut account);
    let passed_fuzzing = fuzzer.is_none_or(|fuzzer| {
        let built = fuzzer.join().expect("building does not panic");
        fuzzing(built, &targets, &mut account)
    });

    account.print();
    // Elsewhere a machine may be unable to; where all is required, that is a failure.
    let required = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    Ok(
        if passed && passed_in_machine && passed_fuzzing && (account.unable.is_empty() || !required) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}

/// The targets that are asked for.
fn fuzz_targets(filter: Option<&str>) -> Vec<&'static str> {
    let is_asked = |target: &&str| filter.is_none_or(|filter| format!("fuzz {target}").contains(filter));
    fuzz::TARGETS.into_iter().filter(is_asked).collect()
}

/// A short search for input that fails, for each of these targets.
fn fuzzing(built: Result<Fuzzer>, targets: &[&str], account: &mut Account) -> bool {
    const SECONDS: u32 = 5;
    // The same way each time: what is tested is a change. `cargo xtask fuzz` goes new ones.
    const SEED: u32 = 1;
    let fuzzer = match built {
        Ok(fuzzer) => fuzzer,
        Err(error) => {
            account.unable.insert(format!("the fuzz targets: {error:#}"));
            return true;
        }
    };
    let failed = account.failed;
    for target in targets {
        let searched = fuzzer.search(target, SECONDS, SEED);
        account.count(searched.is_ok());
        if let Err(error) = searched {
            say::step(&format!("error: {error:#}"));
        }
    }
    account.failed == failed
}

/// The kernel half's tests once more, on a kernel that is not the host's.
fn in_machine(filter: Option<&str>, account: &mut Account) -> bool {
    let machine = match Machine::find() {
        Ok(machine) => machine,
        Err(error) => {
            let what = "the kernel tests in a virtual machine";
            account.unable.insert(format!("{what}: {error:#}"));
            return true;
        }
    };
    let mut inside = Account::default();
    let passed = machine.test_in_short(filter, &mut inside).unwrap_or_else(|error| {
        say::step(&format!("error: {error:#}"));
        inside.failed += 1;
        false
    });
    account.add("in the virtual machine", inside);
    passed
}
