//! Tier `fentry`: the programs at the entry and exit of kernel functions.

#![expect(unsafe_code, reason = "one system call is made for which no crate has a wrapper")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use abi::Layout;
use aya::{
    Btf as AyaBtf, Ebpf, Endianness,
    programs::{FEntry, FExit, Program, ProgramError},
};

use super::{
    btf::{self, BtfError},
    layout::{self, Types},
    links::{Link, Links},
    load,
    object::{ON_DEMAND, Settings, TCP_STATE, attach_raw, create, identify},
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

/// What this tier has to know of the kernel, beside what both do.
pub(super) struct Functions {
    registers: layout::Registers,
    /// What aya looks the functions up in.
    types: Vec<u8>,
}

impl Functions {
    /// The functions' names.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        let programs = EXITS.iter().chain(ENTRIES).chain(OPTIONAL);
        programs.map(|&(_, function)| function)
    }

    /// `types` have the [`Self::names`].
    pub(super) fn find(types: &mut Types) -> Result<Self, Refusal> {
        ask_whether_taken()?;
        Ok(Self {
            registers: layout::registers(types)?,
            types: functions(types).map_err(|error| Refusal::missing(FIND, error))?,
        })
    }

    pub(super) fn load(self, object: &[u8], settings: &Settings, mut layout: Layout) -> Result<(Ebpf, Links), Refusal> {
        [layout.pt_regs_first, layout.pt_regs_second, layout.pt_regs_third] = self.registers;
        let types = AyaBtf::parse(&self.types, Endianness::default()).map_err(|error| Refusal::new(FIND, &error))?;
        load(object, settings, &types, &layout)
    }
}

/// Loads a program of this tier's type for no function at all. A kernel that takes none of them says so first of all (EPERM),
/// and then no types are made for aya, which takes milliseconds and megabytes; any other says that the function is missing.
fn ask_whether_taken() -> Result<(), Refusal> {
    // include/uapi/linux/bpf.h
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_TRACING: u32 = 26;
    const BPF_TRACE_FEXIT: u32 = 25;
    /// `r0 = 0; exit`
    const PROGRAM: [u64; 2] = [0xb7, 0x95];
    /// The beginning of `union bpf_attr` for this command; the kernel takes the rest for 0.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
        prog_ifindex: u32,
        expected_attach_type: u32,
    }
    let attributes = Attributes {
        prog_type: BPF_PROG_TYPE_TRACING,
        insn_cnt: PROGRAM.len() as u32,
        insns: PROGRAM.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: BPF_TRACE_FEXIT,
        ..Attributes::default()
    };
    // SAFETY: the attributes and what they point to live as long as the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    let error = io::Error::last_os_error();
    match fd {
        // Not to be: it is for no function.
        0.. => {
            // SAFETY: a new descriptor, owned by nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
            Ok(())
        }
        _ if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Refusal::new("load a program at a function's exit", &error))
        }
        _ => Ok(()),
    }
}

const FIND: &str = "find the kernel's functions";

fn load(object: &[u8], settings: &Settings, types: &AyaBtf, layout: &Layout) -> Result<(Ebpf, Links), Refusal> {
    let mut ebpf = create(object, settings, layout, true)?;
    let mut links = Links::default();
    let names = EXITS.iter().chain(ENTRIES).map(|&(program, _)| program);
    let names: Vec<_> = names.chain(ON_DEMAND).chain([TCP_STATE.0]).collect();
    load::load(&mut ebpf, &names, |name, program| load_one(name, program, types))?;
    identify(&ebpf)?;
    attach_raw(&mut ebpf, TCP_STATE, &mut links)?;
    for &(program, function) in EXITS {
        let program: &mut FExit = find(&mut ebpf, program)?;
        let link = program.attach().and_then(|id| program.take_link(id));
        links.hold(Link::Exit(link.map_err(|error| unattached(function, &error))?));
    }
    for &(program, function) in ENTRIES {
        links.hold(attach_entry(&mut ebpf, program, function)?);
    }
    for &(program, function) in OPTIONAL {
        let loaded = load::load(&mut ebpf, &[program], |name, program| load_one(name, program, types));
        match loaded.and_then(|()| attach_entry(&mut ebpf, program, function)) {
            Ok(link) => links.hold(link),
            Err(refusal) => tracing::debug!(%refusal, "the ends of unix peers are seen by looking"),
        }
    }
    Ok((ebpf, links))
}

fn load_one(name: &str, program: &mut Program, types: &AyaBtf) -> Result<(), ProgramError> {
    let all = || EXITS.iter().chain(ENTRIES).chain(OPTIONAL);
    let function = all()
        .find(|(program, _)| *program == name)
        .map(|&(_, function)| function);
    match (program, function) {
        (Program::FExit(program), Some(function)) => program.load(function, types),
        (Program::FEntry(program), Some(function)) => program.load(function, types),
        (Program::RawTracePoint(program), None) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Those functions alone, among the kernel's types.
fn functions(types: &Types) -> Result<Vec<u8>, BtfError> {
    let mut found = Vec::new();
    for &(_, function) in EXITS.iter().chain(ENTRIES) {
        found.push((types.function(function)?, function));
    }
    found.extend(
        OPTIONAL
            .iter()
            .filter_map(|&(_, function)| Some((types.function(function).ok()?, function))),
    );
    Ok(btf::reduced_to(&found))
}

fn attach_entry(ebpf: &mut Ebpf, name: &str, function: &str) -> Result<Link, Refusal> {
    let program: &mut FEntry = find(ebpf, name)?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map(Link::Entry).map_err(|error| unattached(function, &error))
}

fn find<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Refusal>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Refusal::foreign_object(name))
}

fn unattached(function: &str, error: &ProgramError) -> Refusal {
    Refusal::new(format_args!("attach to the kernel's function `{function}`"), error)
}
