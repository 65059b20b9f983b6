//! Whether the hooks fire: each is tried by an operation of the agent's own. A kernel takes programs that it never runs, as it
//! does with those at functions where `kernel.ftrace_enabled` is 0.

#![expect(unsafe_code, reason = "one system call is made for which no crate has a wrapper")]

use std::io;
use std::os::fd::{AsFd as _, IntoRawFd as _};

use abi::{FUNCTIONS, HOOKS, TRACEPOINTS};
use aya::Ebpf;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{DupFlags, dup, dup2, dup3, fcntl_dupfd_cloexec},
    net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socketpair},
    pipe::{PipeFlags, pipe_with},
};

use super::{Tier, ledger, mapped::Mapped, refusal::Refusal};

/// `FIRED`
pub(super) struct Trial {
    fired: Mapped<u64>,
    programs: &'static [&'static str],
}

/// A kernel that skips a program now and then may skip it in a trial, too.
const ATTEMPTS: u32 = 3;

impl Trial {
    pub(super) fn take(ebpf: &mut Ebpf, tier: Tier) -> Result<Self, Refusal> {
        Ok(Self {
            fired: ledger::mapped(ebpf, "FIRED", HOOKS)?,
            programs: match tier {
                Tier::Fentry => &FUNCTIONS,
                Tier::Tracepoint => &TRACEPOINTS,
                Tier::None => &[],
            },
        })
    }

    /// The programs that were to run, and did not.
    pub(super) fn quiet(&self) -> Result<Vec<&'static str>, Refusal> {
        let mut quiet = self.programs.to_vec();
        for _ in 0..ATTEMPTS {
            let before = self.counts();
            operate().map_err(|error| Refusal::new("try the hooks", &error))?;
            let after = self.counts();
            quiet.retain(|program| {
                let index = abi::hook(program) as usize;
                before[index] == after[index]
            });
            if quiet.is_empty() {
                break;
            }
        }
        Ok(quiet)
    }

    fn counts(&self) -> Vec<u64> {
        (0..HOOKS as usize)
            .map(|index| self.fired.get(index).unwrap_or_default())
            .collect()
    }
}

/// Each call that has hooks. Nothing of it is a connection, or an attempt at one that is counted.
fn operate() -> io::Result<()> {
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    let (mut other, _end) = pipe_with(PipeFlags::CLOEXEC)?;
    let (datagrams, _peer) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let nobody = SocketAddrUnix::new_abstract_name(b"log-capturer: nobody is here")?;
    // It fails, and its hooks fire.
    let _ = connect(&datagrams, &nobody);
    shutdown(&datagrams, Shutdown::Write)?;
    let mut copy = dup(&event)?;
    dup2(&event, &mut copy)?;
    dup3(event.as_fd(), &mut other, DupFlags::CLOEXEC)?;
    drop(copy);
    let last = fcntl_dupfd_cloexec(&event, 0)?.into_raw_fd();
    // SAFETY: given up just now.
    match unsafe { libc::close_range(last as u32, last as u32, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
