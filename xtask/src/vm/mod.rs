//! `cargo xtask vm-test`: the kernel half's tests on the distribution's own kernel, in an emulated machine. That kernel
//! is not the host's, and takes programs that the host's may refuse.

mod initramfs;
mod machine;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::account::Account;
use crate::build_ebpf::build_ebpf;
use crate::setup::emulator::Emulator;
use crate::setup::guest_kernel::Kernel;
use crate::setup::{self, Part};
use crate::{cargo, say};

/// What it takes.
const PARTS: [Part; 3] = [Part::KernelHalf, Part::Witnesses, Part::Emulator];

pub fn vm_test(filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(&PARTS);
    say::step("building the kernel half");
    build_ebpf(cargo::root(), None)?;
    let mut account = Account::default();
    let passed = Machine::find()?.test(filter, &mut account)?;
    account.print();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests run once on each: this kernel takes both.
const TIERS: [&str; 2] = ["fentry", "tracepoint"];

/// A virtual machine that this host can run.
pub struct Machine {
    emulator: Emulator,
    kernel: Kernel,
}

impl Machine {
    pub fn find() -> Result<Self> {
        Ok(Self {
            emulator: Emulator::find()?,
            kernel: Kernel::find()?,
        })
    }

    /// Runs the tests in it, each tier in a machine of its own, both at once: emulated, each takes a processor for
    /// minutes. Whether all passed.
    pub fn test(&self, filter: Option<&str>, account: &mut Account) -> Result<bool> {
        say::step("building the kernel tests");
        let tests = cargo::build_test("kernel")?;
        let initramfs = initramfs::pack(&cargo::target_dir()?.join("vm"), &tests, &self.kernel.modules, filter)?;
        let image = &self.kernel.image;
        let name = image.file_name().context("a file")?.to_string_lossy();
        say::step(&format!("running them in a virtual machine on {name}"));
        let run = |tier| {
            let mut inside = Account::default();
            let code = machine::run(&self.emulator, image, &initramfs, tier, &mut inside);
            (tier, code, inside)
        };
        let ended = std::thread::scope(|scope| {
            let machines = TIERS.map(|tier| scope.spawn(move || run(tier)));
            machines.map(|machine| machine.join().expect("running a machine does not panic"))
        });
        let mut passed = true;
        for (tier, code, mut inside) in ended {
            match code {
                Ok(0) => {}
                Ok(code) => {
                    passed = false;
                    say::step(&format!(
                        "in the virtual machine the tests of tier {tier} ended with {code}"
                    ));
                }
                Err(error) => {
                    passed = false;
                    inside.failed += 1;
                    say::step(&format!("error: tier {tier}: {error:#}"));
                }
            }
            account.add(&format!("tier {tier}"), inside);
        }
        Ok(passed)
    }
}
