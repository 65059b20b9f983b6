//! Tier `tracepoint`: the programs at the tracepoints of system calls.

use std::path::Path;

use abi::Layout;
use aya::{
    Ebpf,
    programs::{Program, ProgramError, TracePoint},
};

use super::{
    layout,
    links::{Link, Links},
    load,
    object::{ON_DEMAND, Settings, TCP_STATE, attach_raw, create, identify},
    refusal::Refusal,
};

/// Which program goes to which system call. Exits come first: an entry seen before the attach of its exit would leave
/// something behind that no exit takes away.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("exit_connect", &["sys_exit_connect"]),
    ("exit_close", &["sys_exit_close"]),
    ("exit_close_range", &["sys_exit_close_range"]),
    (
        "exit_dup",
        &["sys_exit_dup", "sys_exit_dup2", "sys_exit_dup3", "sys_exit_fcntl"],
    ),
    ("exit_shutdown", &["sys_exit_shutdown"]),
    ("exit_pair", &["sys_exit_socketpair", "sys_exit_pipe", "sys_exit_pipe2"]),
    ("exit_birth", BIRTHS),
    ("enter_shutdown", &["sys_enter_shutdown"]),
    ("enter_close", &["sys_enter_close"]),
    ("enter_close_range", &["sys_enter_close_range"]),
    ("enter_dup", &["sys_enter_dup"]),
    ("enter_dup2", &["sys_enter_dup2", "sys_enter_dup3"]),
    ("enter_fcntl", &["sys_enter_fcntl"]),
    ("enter_connect", &["sys_enter_connect"]),
    ("enter_pipe", &["sys_enter_pipe", "sys_enter_pipe2"]),
    ("enter_socketpair", &["sys_enter_socketpair"]),
];

/// Calls that return a new descriptor. Those that are missing here are found by the next look into the process's table:
/// `recvmsg` and `recvmmsg` are too frequent on a host to tax them, and `ioctl`, `clone` and io_uring make descriptors too rarely.
const BIRTHS: &[&str] = &[
    "sys_exit_socket",
    "sys_exit_accept",
    "sys_exit_accept4",
    "sys_exit_open",
    "sys_exit_openat",
    "sys_exit_openat2",
    "sys_exit_creat",
    "sys_exit_epoll_create",
    "sys_exit_epoll_create1",
    "sys_exit_eventfd",
    "sys_exit_eventfd2",
    "sys_exit_timerfd_create",
    "sys_exit_memfd_create",
    "sys_exit_signalfd",
    "sys_exit_signalfd4",
    "sys_exit_inotify_init",
    "sys_exit_inotify_init1",
    "sys_exit_pidfd_open",
    "sys_exit_pidfd_getfd",
    "sys_exit_bpf",
    "sys_exit_perf_event_open",
    "sys_exit_io_uring_setup",
];

/// System calls that every kernel and architecture has, of those that matter for connections.
const REQUIRED: &[&str] = &[
    "sys_enter_connect",
    "sys_exit_connect",
    "sys_enter_close",
    "sys_exit_close",
    "sys_exit_dup",
    "sys_enter_dup",
    "sys_enter_dup3",
    "sys_exit_dup3",
    "sys_enter_fcntl",
    "sys_exit_fcntl",
    "sys_enter_shutdown",
    "sys_exit_shutdown",
    "sys_exit_socket",
];

pub(super) fn load(
    object: &[u8],
    settings: &Settings,
    tracefs: &Path,
    mut layout: Layout,
) -> Result<(Ebpf, Links), Refusal> {
    layout::records(tracefs, &mut layout)?;
    let mut ebpf = create(object, settings, &layout, false)?;
    let names = PROGRAMS.iter().map(|&(program, _)| program);
    let names: Vec<_> = names.chain(ON_DEMAND).chain([TCP_STATE.0]).collect();
    load::load(&mut ebpf, &names, load_one)?;
    identify(&ebpf)?;
    let mut links = Links::default();
    attach_raw(&mut ebpf, TCP_STATE, &mut links)?;
    for &(program, events) in PROGRAMS {
        attach(&mut ebpf, program, events, tracefs, &mut links)?;
    }
    Ok((ebpf, links))
}

fn load_one(_: &str, program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::TracePoint(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, events: &[&str], tracefs: &Path, links: &mut Links) -> Result<(), Refusal> {
    let program: &mut TracePoint = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))?;
    for event in events {
        if !REQUIRED.contains(event) && !tracefs.join("events/syscalls").join(event).exists() {
            continue;
        }
        let link = program
            .attach("syscalls", event)
            .and_then(|id| program.take_link(id))
            .map_err(|error| Refusal::new(format_args!("attach to the tracepoint `syscalls:{event}`"), &error))?;
        links.hold(Link::TracePoint(link));
    }
    Ok(())
}
