use aya::programs::ProgramError;
use std::{error::Error, fmt::Display, fs, io};

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
    /// The host is locked down against what this takes.
    Lockdown,
    /// The kernel took the programs, and does not run them.
    Quiet,
    /// The kernel refused what it should take: a mistake of ours.
    Unexpected,
}

const EPERM: i32 = 1;

const RIGHTS: &str = "grant CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH (and CAP_SYS_ADMIN where tracefs is not mounted, or kernel.perf_event_paranoid is above 2)";
const KERNEL: &str = "this needs Linux 5.12 or later with CONFIG_DEBUG_INFO_BTF and CONFIG_FTRACE_SYSCALLS";

const LOCKDOWN: &str =
    "boot with lockdown=integrity at most: lockdown=confidentiality keeps every program from reading kernel memory";
const QUIET: &str = "set kernel.ftrace_enabled to 1, and see what else holds the kernel's tracing off";

/// The first kernel that has atomic instructions for programs.
const OLDEST: (u32, u32) = (5, 12);

impl Refusal {
    /// What to do about it.
    pub const fn grant(&self) -> &'static str {
        match self.kind {
            RefusalKind::NotBuilt => "run `cargo xtask build-ebpf` and build again",
            RefusalKind::Rights => RIGHTS,
            RefusalKind::Kernel => KERNEL,
            RefusalKind::Lockdown => LOCKDOWN,
            RefusalKind::Quiet => QUIET,
            RefusalKind::Unexpected => "please report this, with the kernel's version",
        }
    }

    /// Names what the host says of itself, where that is the cause whatever the call has answered.
    pub(super) fn explained(self) -> Self {
        if matches!(self.kind, RefusalKind::NotBuilt) {
            return self;
        }
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if is_too_old(&release) {
            return Self {
                kind: RefusalKind::Kernel,
                why: format!("Linux {} is too old ({})", release.trim(), self.why),
                ..self
            };
        }
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        let parameters = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        if is_confidential(&lockdown, &parameters) {
            return Self {
                kind: RefusalKind::Lockdown,
                why: format!("the kernel is locked down ({})", self.why),
                ..self
            };
        }
        self
    }

    /// This is why there is no tier at all; that is why there was no better one.
    pub(super) fn after(self, better: &Self) -> Self {
        Self {
            what: format!("tier fentry: {}; tier tracepoint: {}", better.reason(), self.what),
            ..self
        }
    }

    pub(super) fn quiet(what: impl Display, why: impl Display) -> Self {
        Self {
            kind: RefusalKind::Quiet,
            what: what.to_string(),
            why: why.to_string(),
        }
    }

    /// Without what to do about it: where something else works, nothing need be done.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.what, self.why)
    }

    pub(super) fn not_built() -> Self {
        Self {
            kind: RefusalKind::NotBuilt,
            what: "kernel half".into(),
            why: "built without it".into(),
        }
    }

    /// The embedded object was built from other definitions of what both halves share.
    pub(super) fn outdated() -> Self {
        Self {
            kind: RefusalKind::NotBuilt,
            what: "kernel half".into(),
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
            what: format!("find `{name}` in the kernel half"),
            why: "it is of another build".into(),
        }
    }
}

fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let number = numbers.next().flatten().zip(numbers.next().flatten());
    number.is_some_and(|number| number < OLDEST)
}

/// What is in force stands in brackets: `none integrity [confidentiality]`. The file is there only where securityfs is mounted.
fn is_confidential(lockdown: &str, parameters: &str) -> bool {
    if lockdown.is_empty() {
        return parameters
            .split_whitespace()
            .any(|one| one == "lockdown=confidentiality");
    }
    lockdown.contains("[confidentiality]")
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
    fn a_kernel_is_too_old_by_its_number() {
        for release in ["5.10.0-46-cloud-amd64", "4.19.0", "5.11"] {
            assert!(is_too_old(release), "{release}");
        }
        for release in ["5.12.0", "6.1.0-40-amd64", "7.3.4+deb13-cloud-amd64", ""] {
            assert!(!is_too_old(release), "{release}");
        }
    }

    #[test]
    fn a_locked_down_host_says_so_itself() {
        assert!(is_confidential("none integrity [confidentiality]\n", ""));
        assert!(!is_confidential(
            "none [integrity] confidentiality\n",
            "lockdown=confidentiality"
        ));
        assert!(is_confidential("", "quiet lockdown=confidentiality"));
        assert!(!is_confidential("", "quiet lockdown=integrity"));
    }

    #[test]
    fn each_tiers_reason_is_given() {
        let first = Refusal::new("load `a`", &io::Error::from_raw_os_error(1));
        let last = Refusal::missing("mount tracefs", "no such file system").after(&first);
        let said = last.to_string();
        assert!(
            said.starts_with(
                "tier fentry: load `a`: Operation not permitted (os error 1); tier tracepoint: mount tracefs: no such \
                 file system; "
            ),
            "{said}"
        );
    }

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
