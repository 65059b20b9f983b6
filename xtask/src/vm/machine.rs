//! One run of the emulator.

use std::cell::Cell;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::account::{Account, Said};
use crate::setup::emulator::{self, Emulator};

/// Some minutes are what it takes here; a machine that hangs must not hold up those who wait for it.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// As `init.sh` prints it.
const ENDED: &str = "vm: ended with ";

/// Runs the tests until the machine has powered off, and passes on what it says. `parameters` are the kernel's, beside those that
/// every run has. The tests' exit code.
pub fn run(
    emulator: &Emulator,
    image: &Path,
    initramfs: &Path,
    name: &str,
    parameters: &str,
    account: &mut Account,
) -> Result<i32> {
    // Emulated throughout: it is the same everywhere, and a host that is a virtual machine itself may have a /dev/kvm
    // that hangs. Two processors, or threads would never meet; on one thread of the host, which takes no longer: on two,
    // both processors have been seen to wait for each other forever (a soft lockup), once in some thirty runs.
    let mut emulator = emulator
        .command()
        .args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "1024"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-serial", "file:/dev/stdout", "-serial", "file:/dev/stderr"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        // A lockup ends the machine, and the kernel says where it was. On a busy host the check of its timer fails by the time
        // that the emulation takes.
        .arg("-append")
        .arg(format!(
            "console=ttyS0 quiet panic=-1 softlockup_panic=1 no_timer_check {parameters}"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(emulator::PROGRAM)?;
    let said = Said::by(&mut emulator)?.named(name);
    let (code, ended) = std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            let code = Cell::new(None);
            account.follow(said, |line| {
                if let Some(ended) = line.strip_prefix(ENDED) {
                    code.set(ended.parse().ok());
                }
            });
            code.get()
        });
        let ended = wait(&mut emulator);
        (following.join().expect("passing on does not panic"), ended)
    });
    let ended = ended?;
    match code {
        Some(code) => Ok(code),
        None => bail!(
            "the virtual machine went off before the tests ended ({}: {ended})",
            emulator::PROGRAM
        ),
    }
}

fn wait(emulator: &mut Child) -> Result<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = emulator.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() > LIMIT {
            emulator.kill()?;
            emulator.wait()?;
            bail!("the virtual machine was still running after {} s", LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
