//! The object file with the programs: it is embedded in the agent, and what every tier does with it is here.

use abi::Layout;
use aya::{Ebpf, EbpfLoader, RawTracePointRunOptions, TestRun as _, VerifierLogLevel, programs::RawTracePoint};
use memchr::memmem;

use super::{
    links::{Link, Links},
    refusal::Refusal,
    tier::Tier,
};

#[cfg(kernel_part)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LOG_CAPTURER_EBPF_OBJECT")));
#[cfg(not(kernel_part))]
static OBJECT: Option<&[u8]> = None;

/// What is decided at the load.
pub(super) struct Settings {
    /// The only one to try; the best that there is, if none is named.
    pub tier: Option<Tier>,
    pub connections: u32,
    pub descriptors: u32,
    pub debug: bool,
}

/// The embedded object, if it was built from this source.
pub(super) fn embedded() -> Result<&'static [u8], Refusal> {
    let object = OBJECT.ok_or_else(Refusal::not_built)?;
    if memmem::find(object, &abi::STAMP).is_none() {
        return Err(Refusal::outdated());
    }
    Ok(object)
}

/// Creates the maps. Nothing is loaded or attached by that.
pub(super) fn create(object: &[u8], settings: &Settings, layout: &Layout, exact: bool) -> Result<Ebpf, Refusal> {
    // `AYA_LOG_LEVEL` is constant to the verifier, which drops the messages that are off.
    let level = if settings.debug { aya_log::Level::Trace as u8 } else { 0 };
    let exact = u8::from(exact);
    let mut loader = EbpfLoader::new();
    loader
        .btf(None)
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("LAYOUT", layout, true)
        .override_global("EXACT", &exact, true)
        .override_global(aya_log::LEVEL, &level, true)
        .map_max_entries("CONNECTIONS", settings.connections)
        .map_max_entries("SOCKETS", settings.connections)
        .map_max_entries("DESCRIPTORS", settings.descriptors)
        .map_max_entries("TABLE", settings.descriptors);
    if !settings.debug {
        // The ring of messages stays empty: the least that a ring may have, instead of 128 KiB.
        loader.map_max_entries("AYA_LOGS", rustix::param::page_size() as u32);
    }
    loader
        .load(object)
        .map_err(|error| Refusal::new("create the kernel maps", &error))
}

/// Programs that are never attached, but run by [`ask`]. Those that take the longest to load are first, see [`super::load`].
pub(super) const ON_DEMAND: [&str; 9] = [
    "census",
    "adopt",
    "survey",
    "identify",
    "whoami",
    "calibrate",
    "seek",
    "bury",
    "let_go",
];

/// Where TCP sockets change their state. A raw one: it needs no tracefs, and its record has the socket itself.
pub(super) const TCP_STATE: (&str, &str) = ("tcp_state", "inet_sock_set_state");

/// Attaches a program that is loaded to a raw tracepoint.
pub(super) fn attach_raw(ebpf: &mut Ebpf, (name, event): (&str, &str), links: &mut Links) -> Result<(), Refusal> {
    let program: &mut RawTracePoint = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))?;
    let link = program
        .attach(event)
        .and_then(|id| program.take_link(id))
        .map_err(|error| Refusal::new(format_args!("attach to the raw tracepoint `{event}`"), &error))?;
    links.hold(Link::RawTracePoint(link));
    Ok(())
}

/// Has the programs know this process: before the attach, or the first calls would be taken for another's.
pub(super) fn identify(ebpf: &Ebpf) -> Result<(), Refusal> {
    ask(raw_tracepoint(ebpf, "identify")?, 0)
}

/// A program that is run by [`ask`].
pub(super) fn raw_tracepoint<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a RawTracePoint, Refusal> {
    ebpf.program(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))
}

/// Runs a program on this thread, in this process: its answer, if it has one, is in a map.
pub(super) fn ask(program: &RawTracePoint, argument: u64) -> Result<(), Refusal> {
    ask_two(program, argument, 0)
}

pub(super) fn ask_two(program: &RawTracePoint, first: u64, second: u64) -> Result<(), Refusal> {
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = first;
    options.args[1] = second;
    program
        .test_run(options)
        .map(drop)
        .map_err(|error| Refusal::new("run a program (BPF_PROG_TEST_RUN)", &error))
}
