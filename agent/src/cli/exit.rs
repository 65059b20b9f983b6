//! What the exit code of a command means. `--help` and the reference are made from this.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Failure,
    Unusable,
    Found,
}

impl Exit {
    pub(crate) const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Unusable, Self::Found];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Unusable => 2,
            Self::Found => 3,
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => {
                "The command did its work. For run: a signal ended it, every line that was read was delivered or is in \
                 its sink's spool, and no connection was left open."
            }
            Self::Failure => {
                "The command failed, and standard error says why. For run: it could not start, a sink cannot be written to \
                 any more, lines that were read were neither delivered nor spooled before shutdown.deadline, the last positions \
                 could not be saved, or a connection was left open. For account, connections, dead-letter, fds, health and leaks: the agent did not answer. For fds and \
                 leaks also: it runs without its kernel half."
            }
            Self::Unusable => {
                "The command line or the configuration cannot be used. Standard error says where and why."
            }
            Self::Found => {
                "For account: it does not add up, or lines may be missing. For dead-letter: some remain. For leaks: a connection is leaked. For fds: the ledger and its witnesses count differently. For \
                 fds and leaks: the descriptors of some kind only ever grow in number."
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
