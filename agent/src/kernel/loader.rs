//! Loads the programs and attaches them.

use std::{path::Path, thread};

use abi::Layout;
use aya::{
    Ebpf, EbpfLoader, RawTracePointRunOptions, TestRun as _, VerifierLogLevel,
    programs::{RawTracePoint, TracePoint, raw_trace_point::RawTracePointLink, trace_point::TracePointLink},
};
use memchr::memmem;

use super::{layout, namespace, refusal::Refusal};

#[cfg(kernel_part)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LOG_CAPTURER_EBPF_OBJECT")));
#[cfg(not(kernel_part))]
static OBJECT: Option<&[u8]> = None;

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

/// What is decided at the load.
pub struct Settings {
    pub connections: u32,
    pub descriptors: u32,
    pub debug: bool,
}

/// The attachments; they end with this.
#[derive(Default)]
pub struct Links(Vec<Link>);

enum Link {
    #[expect(dead_code, reason = "held for its drop")]
    TracePoint(TracePointLink),
    #[expect(dead_code, reason = "held for its drop")]
    RawTracePoint(RawTracePointLink),
}

impl Drop for Links {
    /// The kernel waits for a grace period with each one (`tracepoint_synchronize_unregister`): a second for all of them
    /// in turn.
    fn drop(&mut self) {
        thread::scope(|scope| {
            for link in self.0.drain(..) {
                // Where no thread can be had, the link goes with the closure, here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(link));
            }
        });
    }
}

pub fn load(settings: &Settings) -> Result<(Ebpf, Links), Refusal> {
    let object = OBJECT.ok_or_else(Refusal::not_built)?;
    if memmem::find(object, &abi::STAMP).is_none() {
        return Err(Refusal::outdated());
    }
    let mut layout = layout::structures()?;
    namespace::with_tracefs(|tracefs| {
        layout::records(tracefs, &mut layout)?;
        let mut ebpf = create(object, settings, &layout)?;
        let mut links = Links::default();
        attach_tcp_state(&mut ebpf, &mut links)?;
        for &(program, events) in PROGRAMS {
            attach(&mut ebpf, program, events, tracefs, &mut links)?;
        }
        Ok((ebpf, links))
    })
}

fn create(object: &[u8], settings: &Settings, layout: &Layout) -> Result<Ebpf, Refusal> {
    // `AYA_LOG_LEVEL` is constant to the verifier, which drops the messages that are off.
    let level = if settings.debug { aya_log::Level::Trace as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        .btf(None)
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("LAYOUT", layout, true)
        .override_global(aya_log::LEVEL, &level, true)
        .map_max_entries("CONNECTIONS", settings.connections)
        .map_max_entries("SOCKETS", settings.connections)
        .map_max_entries("DESCRIPTORS", settings.descriptors)
        .map_max_entries("TABLE", settings.descriptors);
    if !settings.debug {
        // The ring of messages stays empty: the least that a ring may have, instead of 128 KiB.
        loader.map_max_entries("AYA_LOGS", rustix::param::page_size() as u32);
    }
    let mut ebpf = loader
        .load(object)
        .map_err(|error| Refusal::new("create the kernel maps", &error))?;
    for name in ["identify", "whoami", "survey", "learn", "adopt", "census"] {
        raw_tracepoint_mut(&mut ebpf, name)?
            .load()
            .map_err(|error| Refusal::load(name, &error))?;
    }
    // Before the attach, or the first calls would be taken for another process's.
    ask(raw_tracepoint(&ebpf, "identify")?, 0)?;
    Ok(ebpf)
}

fn attach(ebpf: &mut Ebpf, name: &str, events: &[&str], tracefs: &Path, links: &mut Links) -> Result<(), Refusal> {
    let program: &mut TracePoint = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))?;
    program.load().map_err(|error| Refusal::load(name, &error))?;
    for event in events {
        if !REQUIRED.contains(event) && !tracefs.join("events/syscalls").join(event).exists() {
            continue;
        }
        let link = program
            .attach("syscalls", event)
            .and_then(|id| program.take_link(id))
            .map_err(|error| Refusal::new(format_args!("attach to the tracepoint `syscalls:{event}`"), &error))?;
        links.0.push(Link::TracePoint(link));
    }
    Ok(())
}

/// Where TCP sockets change their state. A raw one: it needs no tracefs, and its record has the socket itself.
fn attach_tcp_state(ebpf: &mut Ebpf, links: &mut Links) -> Result<(), Refusal> {
    const EVENT: &str = "inet_sock_set_state";
    let program = raw_tracepoint_mut(ebpf, "tcp_state")?;
    program.load().map_err(|error| Refusal::load("tcp_state", &error))?;
    let link = program
        .attach(EVENT)
        .and_then(|id| program.take_link(id))
        .map_err(|error| Refusal::new(format_args!("attach to the raw tracepoint `{EVENT}`"), &error))?;
    links.0.push(Link::RawTracePoint(link));
    Ok(())
}

fn raw_tracepoint_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, Refusal> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))
}

/// A program that is run by [`ask`].
pub fn raw_tracepoint<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a RawTracePoint, Refusal> {
    ebpf.program(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))
}

/// Runs a program on this thread, in this process: its answer, if it has one, is in a map.
pub fn ask(program: &RawTracePoint, argument: u64) -> Result<(), Refusal> {
    ask_two(program, argument, 0)
}

pub fn ask_two(program: &RawTracePoint, first: u64, second: u64) -> Result<(), Refusal> {
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = first;
    options.args[1] = second;
    program
        .test_run(options)
        .map(drop)
        .map_err(|error| Refusal::new("run a program (BPF_PROG_TEST_RUN)", &error))
}
