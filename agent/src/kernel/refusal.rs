use aya::programs::ProgramError;
use std::{error::Error, fmt::Display, io};

/// Why there is no kernel part, in words for the one who runs the agent.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}; {}", self.grant())]
pub struct Refusal {
    /// What kind of cause it has.
    pub kind: RefusalKind,
    /// What was tried.
    pub what: String,
    /// What came of it.
    pub why: String,
}

/// What kind of cause a refusal has, which decides what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The agent was built without the kernel part, or with another version's.
    NotBuilt,
    /// The process lacks rights.
    Rights,
    /// The kernel lacks something.
    Kernel,
    /// The kernel refused what it should take: a mistake of ours.
    Unexpected,
}

const EPERM: i32 = 1;

const RIGHTS: &str = "grant CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH (and CAP_SYS_ADMIN where tracefs is not mounted, or kernel.perf_event_paranoid is above 2)";
const KERNEL: &str = "this needs Linux 5.12 or later with CONFIG_DEBUG_INFO_BTF and CONFIG_FTRACE_SYSCALLS";

impl Refusal {
    /// What to do about it.
    pub const fn grant(&self) -> &'static str {
        match self.kind {
            RefusalKind::NotBuilt => "run `cargo xtask build-ebpf` and build again",
            RefusalKind::Rights => RIGHTS,
            RefusalKind::Kernel => KERNEL,
            RefusalKind::Unexpected => "please report this, with the kernel's version",
        }
    }

    /// Without what to do about it: where something else works, nothing need be done.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.what, self.why)
    }

    pub(super) fn not_built() -> Self {
        Self {
            kind: RefusalKind::NotBuilt,
            what: "kernel part".into(),
            why: "built without it".into(),
        }
    }

    /// The embedded object was built from other definitions of what both halves share.
    pub(super) fn outdated() -> Self {
        Self {
            kind: RefusalKind::NotBuilt,
            what: "kernel part".into(),
            why: "the one built in is of another version than the agent".into(),
        }
    }

    pub(super) fn new(what: impl Display, error: &(dyn Error + 'static)) -> Self {
        let has = |wanted| io_errors(error).any(|error| error.kind() == wanted);
        let kind = if has(io::ErrorKind::PermissionDenied) {
            RefusalKind::Rights
        } else if has(io::ErrorKind::NotFound) || has(io::ErrorKind::Unsupported) {
            RefusalKind::Kernel
        } else {
            RefusalKind::Unexpected
        };
        Self {
            kind,
            what: what.to_string(),
            why: chain(error),
        }
    }

    /// At `BPF_PROG_LOAD` only EPERM is about rights: EACCES is one of the verifier's answers.
    pub(super) fn load(program: &str, error: &ProgramError) -> Self {
        let what = format!("load the program `{program}`");
        match error {
            ProgramError::LoadError { io_error, verifier_log } if io_error.raw_os_error() != Some(EPERM) => {
                tracing::debug!("the verifier on `{program}`:\n{verifier_log}");
                let log = verifier_log.to_string();
                let last = log
                    .lines()
                    .rev()
                    .find(|line| !line.starts_with("processed "))
                    .unwrap_or_default();
                Self {
                    kind: RefusalKind::Unexpected,
                    what,
                    why: format!("{io_error}: {last}"),
                }
            }
            ProgramError::LoadError { io_error, .. } => Self::new(what, io_error),
            error => Self::new(what, error),
        }
    }

    pub(super) fn missing(what: impl Display, why: impl Display) -> Self {
        Self {
            kind: RefusalKind::Kernel,
            what: what.to_string(),
            why: why.to_string(),
        }
    }

    /// The embedded object has not what this agent looks for in it.
    pub(super) fn foreign_object(name: &str) -> Self {
        Self {
            kind: RefusalKind::Unexpected,
            what: format!("find `{name}` in the kernel part"),
            why: "it is of another build".into(),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    causes(error).filter_map(|error| error.downcast_ref())
}

/// The causes in one line. aya's messages often repeat their cause, so what was said already is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in causes(error) {
        let message = cause.to_string();
        let message = message.trim();
        if !line.contains(message) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(message);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_asked_for_when_rights_are_missing() {
        let refusal = Refusal::new("load", &io::Error::from_raw_os_error(1));
        assert_eq!(
            refusal.to_string(),
            format!("load: Operation not permitted (os error 1); {RIGHTS}")
        );
        let refusal = Refusal::new("load", &io::Error::from_raw_os_error(22));
        assert_eq!(refusal.kind, RefusalKind::Unexpected);
    }
}
