//! Whether the agent answers, for the `HEALTHCHECK` of a container.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use super::arguments::{Arguments, Command, SourceArguments};
use super::exit::Exit;
use crate::admin::client;
use crate::config::Sources;

/// The first process, as seen from the process-id namespace that this one is in.
const FIRST: &str = "/proc/1/cmdline";

pub(super) fn health(asked: SourceArguments) -> Result<ExitCode> {
    let says_nothing = asked.config.is_none() && asked.set.is_empty();
    let sources = says_nothing.then(of_the_first_process).flatten().unwrap_or(asked);
    let (config, ()) = Sources::from(sources).load(|_| Ok(()))?;
    client::get(&format!("http://{}", reachable(config.admin.listen)), "/healthz")?;
    Ok(Exit::Success.into())
}

/// What the agent was started with if it is the first process, as in a container. Its health check knows the image's
/// arguments, and not those that the user gave the agent instead.
fn of_the_first_process() -> Option<SourceArguments> {
    run_by(&std::fs::read(FIRST).ok()?)
}

/// proc_pid_cmdline(5): arguments, each with a NUL behind it.
fn run_by(command_line: &[u8]) -> Option<SourceArguments> {
    let arguments = command_line.strip_suffix(b"\0")?.split(|&byte| byte == 0);
    let arguments: Vec<&OsStr> = arguments.map(OsStr::from_bytes).collect();
    if Path::new(arguments.first()?).file_name()? != "log-capturer" {
        return None;
    }
    match Arguments::try_parse_from(arguments).ok()?.command {
        Command::Run { sources } => Some(sources),
        _ => None,
    }
}

/// Who listens on every address is asked at loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_the_first_process_count_if_it_is_the_agent() {
        let found = run_by(b"/log-capturer\0run\0--config\0/c.yaml\0--set\0admin.listen=0.0.0.0:9001\0").unwrap();
        assert_eq!(found.config.as_deref(), Some(Path::new("/c.yaml")));
        assert_eq!(found.set, ["admin.listen=0.0.0.0:9001"]);
        for other in [
            &b"/sbin/init\0run\0"[..],
            b"/log-capturer\0check\0",
            b"/log-capturer\0run\0--no-such\0",
            b"",
        ] {
            assert!(run_by(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn an_agent_that_listens_everywhere_is_asked_at_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9001"), "127.0.0.1:9001");
        assert_eq!(asked("[::]:9001"), "[::1]:9001");
        assert_eq!(asked("10.1.2.3:9001"), "10.1.2.3:9001");
    }
}
