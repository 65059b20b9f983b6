//! Tier `fentry`: the programs at the entry and exit of kernel functions.

use abi::Layout;
use aya::{
    Btf as AyaBtf, Ebpf, Endianness,
    programs::{FEntry, FExit, ProgramError},
};

use super::{
    btf::{Btf, BtfError},
    layout,
    loader::{Link, Links, Settings, attach_tcp_state, create, make_ready},
    refusal::Refusal,
};

/// Program and function: at its exit. Exits come first, as in tier `tracepoint`.
const EXITS: &[(&str, &str)] = &[
    ("fexit_install", "fd_install"),
    ("fexit_connect", "__x64_sys_connect"),
    ("fexit_close", "__x64_sys_close"),
    ("fexit_close_range", "__x64_sys_close_range"),
    ("fexit_dup", "__x64_sys_dup"),
    ("fexit_dup2", "__x64_sys_dup2"),
    ("fexit_dup3", "__x64_sys_dup3"),
    ("fexit_fcntl", "__x64_sys_fcntl"),
    ("fexit_shutdown", "__x64_sys_shutdown"),
];

const ENTRIES: &[(&str, &str)] = &[
    ("fentry_shutdown", "__x64_sys_shutdown"),
    ("fentry_close", "__x64_sys_close"),
    ("fentry_close_range", "__x64_sys_close_range"),
    ("fentry_dup", "__x64_sys_dup"),
    ("fentry_dup2", "__x64_sys_dup2"),
    ("fentry_dup3", "__x64_sys_dup3"),
    ("fentry_fcntl", "__x64_sys_fcntl"),
];

/// Static functions, which a compiler may have renamed. Without them the end of a unix socket's peer is seen by the next look,
/// as in tier `tracepoint`.
const OPTIONAL: &[(&str, &str)] = &[
    ("fentry_unix_release", "unix_release_sock"),
    ("fentry_unix_shutdown", "unix_shutdown"),
];

pub fn load(object: &[u8], settings: &Settings, vmlinux: &[u8], mut layout: Layout) -> Result<(Ebpf, Links), Refusal> {
    layout::registers(vmlinux, &mut layout)?;
    let types = functions(vmlinux)?;
    let mut ebpf = create(object, settings, &layout, true)?;
    let mut links = Links::default();
    // A kernel that refuses the first of them refuses them all: before anything else is loaded for it.
    for &(program, function) in EXITS {
        exit(&mut ebpf, program)?
            .load(function, &types)
            .map_err(|error| Refusal::load(program, &error))?;
    }
    make_ready(&mut ebpf)?;
    attach_tcp_state(&mut ebpf, &mut links)?;
    for &(program, function) in EXITS {
        let program = exit(&mut ebpf, program)?;
        let link = program.attach().and_then(|id| program.take_link(id));
        links.hold(Link::Exit(link.map_err(|error| unattached(function, &error))?));
    }
    for &(program, function) in ENTRIES {
        links.hold(attach_entry(&mut ebpf, program, function, &types)?);
    }
    for &(program, function) in OPTIONAL {
        match attach_entry(&mut ebpf, program, function, &types) {
            Ok(link) => links.hold(link),
            Err(refusal) => tracing::debug!(%refusal, "the ends of unix peers are seen by looking"),
        }
    }
    Ok((ebpf, links))
}

/// What aya looks the functions up in.
fn functions(vmlinux: &[u8]) -> Result<AyaBtf, Refusal> {
    let find = || -> Result<Vec<u8>, BtfError> {
        let btf = Btf::parse(vmlinux)?;
        let mut found = Vec::new();
        for &(_, function) in EXITS.iter().chain(ENTRIES) {
            found.push((btf.function(function)?, function));
        }
        found.extend(
            OPTIONAL
                .iter()
                .filter_map(|&(_, function)| Some((btf.function(function).ok()?, function))),
        );
        Ok(Btf::reduced_to(&found))
    };
    let what = "find the kernel's functions";
    let reduced = find().map_err(|error| Refusal::missing(what, error))?;
    AyaBtf::parse(&reduced, Endianness::default()).map_err(|error| Refusal::new(what, &error))
}

fn attach_entry(ebpf: &mut Ebpf, name: &str, function: &str, types: &AyaBtf) -> Result<Link, Refusal> {
    let program: &mut FEntry = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))?;
    program
        .load(function, types)
        .map_err(|error| Refusal::load(name, &error))?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map(Link::Entry).map_err(|error| unattached(function, &error))
}

fn exit<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut FExit, Refusal> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))
}

fn unattached(function: &str, error: &ProgramError) -> Refusal {
    Refusal::new(format_args!("attach to the kernel's function `{function}`"), error)
}
