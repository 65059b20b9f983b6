//! `cargo xtask vm-test`: the kernel half's tests on the distribution's own kernel, in an emulated machine. That kernel
//! is not the host's, and takes programs that the host's may refuse.

mod initramfs;
mod machine;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::account::Account;
use crate::build_ebpf::build_ebpf;
use crate::setup::emulator::Emulator;
use crate::setup::guest_kernel::Kernel;
use crate::setup::{self, Part};
use crate::{cargo, say};

/// What it takes.
const PARTS: [Part; 3] = [Part::KernelHalf, Part::Witnesses, Part::Emulator];

/// What to run, and on which kernel.
#[derive(clap::Args)]
pub struct Options {
    /// A series of kernels that Debian has packages of, such as 6.18 or 7.3; the distribution's own, if none is named.
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
    /// How the kernel preempts tasks: `full`, `lazy`, `voluntary` or `none`; as it was built to, if nothing is named.
    #[arg(long, value_name = "HOW")]
    preempt: Option<String>,
    /// The program with the kernel tests, where it is built already.
    #[arg(long, value_name = "PROGRAM")]
    tests: Option<PathBuf>,
    /// Only tests of which the name contains one of these.
    filters: Vec<String>,
}

pub fn vm_test(options: &Options) -> Result<ExitCode> {
    setup::ensure(&PARTS);
    let tests = match &options.tests {
        Some(tests) => tests.clone(),
        None => {
            say::step("building the kernel half");
            build_ebpf(cargo::root(), None)?;
            build_tests()?
        }
    };
    let mut account = Account::default();
    let machine = match &options.kernel {
        Some(series) => Machine::with(Kernel::of_series(series)?)?,
        None => Machine::find()?,
    };
    let filters: Vec<&str> = options.filters.iter().map(String::as_str).collect();
    let passed = machine.test(&tests, options.preempt.as_deref(), &filters, &mut account)?;
    account.print();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests that run in the machine, which bear the kernel half.
pub fn build_tests() -> Result<PathBuf> {
    say::step("building the kernel tests");
    cargo::build_test("kernel")
}

/// The tests run once on each: these kernels take both.
const TIERS: [&str; 2] = ["fentry", "tracepoint"];

/// A virtual machine that this host can run.
pub struct Machine {
    emulator: Emulator,
    kernel: Kernel,
}

impl Machine {
    pub fn find() -> Result<Self> {
        Self::with(Kernel::find()?)
    }

    fn with(kernel: Kernel) -> Result<Self> {
        Ok(Self {
            emulator: Emulator::find()?,
            kernel,
        })
    }

    /// Runs the tests in it, each tier in a machine of its own, both at once: emulated, each takes a processor for
    /// minutes. Whether all passed.
    pub fn test(&self, tests: &Path, preempt: Option<&str>, filters: &[&str], account: &mut Account) -> Result<bool> {
        let initramfs = initramfs::pack(&cargo::target_dir()?.join("vm"), tests, &self.kernel.modules, filters)?;
        let version = &self.kernel.version;
        let how = preempt.map_or(String::new(), |how| format!(" with preempt={how}"));
        say::step(&format!("running them in a virtual machine on {version}{how}"));
        let run = |tier| {
            let mut inside = Account::default();
            let mut parameters = format!("LEDGER_TIER={tier}");
            if let Some(how) = preempt {
                parameters += &format!(" preempt={how}");
            }
            if self.preempts(preempt) {
                parameters += " LEDGER_PREEMPTS=1";
            }
            let code = machine::run(
                &self.emulator,
                &self.kernel.image,
                &initramfs,
                tier,
                &parameters,
                &mut inside,
            );
            (tier, code, inside)
        };
        let ended = std::thread::scope(|scope| {
            let machines = TIERS.map(|tier| scope.spawn(move || run(tier)));
            machines.map(|machine| machine.join().expect("running a machine does not panic"))
        });
        let mut passed = true;
        for (tier, code, mut inside) in ended {
            let where_ = format!("tier {tier} on {version}{how}");
            match code {
                Ok(0) => {}
                Ok(code) => {
                    passed = false;
                    say::step(&format!(
                        "in the virtual machine the tests of {where_} ended with {code}"
                    ));
                }
                Err(error) => {
                    passed = false;
                    inside.failed += 1;
                    say::step(&format!("error: {where_}: {error:#}"));
                }
            }
            account.add(inside.named(&where_));
        }
        Ok(passed)
    }

    /// Whether it preempts tasks inside itself, and so may skip a program. Debian's does by default from 6.18 on.
    fn preempts(&self, preempt: Option<&str>) -> bool {
        match preempt {
            Some(how) => how == "full" || how == "lazy",
            None => {
                let mut numbers = self.kernel.version.split('.').map(|number| number.parse::<u32>().ok());
                let number = numbers.next().flatten().zip(numbers.next().flatten());
                number.is_some_and(|number| number >= (6, 18))
            }
        }
    }
}
