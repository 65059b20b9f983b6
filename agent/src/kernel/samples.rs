//! A descriptor of each kind that the kernel half tells by its `file_operations`, to be calibrated by.

#![expect(unsafe_code, reason = "one system call is made for which no crate has a wrapper")]

use std::{
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use abi::Sample;
use aya::programs::RawTracePoint;
use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fs::{Dir, MemfdFlags, Mode, OFlags, memfd_create, open, readlinkat},
    pipe::pipe,
    time::{TimerfdClockId, TimerfdFlags, timerfd_create},
};

use super::{object::ask_two, refusal::Refusal};

/// Calibrates the programs by what this process has. They must be loaded. A kind of which there is nothing is told as
/// [`abi::Kind::Other`].
pub(super) fn calibrate(program: &RawTracePoint) -> Result<(), Refusal> {
    let made = make().map_err(|error| Refusal::new("make descriptors to calibrate by", &error))?;
    for (sample, fd) in &made {
        ask_two(program, *sample as u64, fd.as_raw_fd() as u64)?;
    }
    for (fd, target) in links().map_err(|error| Refusal::new("read /proc/self/fd", &error))? {
        if let Some(sample) = by_name(&target) {
            ask_two(program, sample as u64, fd as u64)?;
        }
    }
    Ok(())
}

fn make() -> io::Result<Vec<(Sample, OwnedFd)>> {
    let mut made = vec![
        (Sample::Socket, UnixStream::pair()?.0.into()),
        (Sample::Pipe, pipe()?.0),
        (Sample::Epoll, epoll::create(epoll::CreateFlags::CLOEXEC)?),
        (Sample::Eventfd, eventfd(0, EventfdFlags::CLOEXEC)?),
        (
            Sample::Timerfd,
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
        ),
        (Sample::Memfd, memfd_create("sample", MemfdFlags::CLOEXEC)?),
        (Sample::Path, open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?),
    ];
    // Where a kernel has none of these, nobody else has one either.
    let namespace = open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    made.extend(namespace.ok().map(|namespace| (Sample::Namespace, namespace)));
    made.extend(secret().map(|secret| (Sample::Secret, secret)));
    match perf_event() {
        Ok(event) => made.push((Sample::Perf, event)),
        // Debian's kernel asks for CAP_SYS_ADMIN where `kernel.perf_event_paranoid` is 3. Whoever was attached without has no
        // other such descriptor either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
    }
    Ok(made)
}

/// `memfd_secret`, since 5.14.
fn secret() -> Option<OwnedFd> {
    // SAFETY: the call takes numbers only, and returns a descriptor that nobody else knows of.
    unsafe {
        let fd = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// An event that never happens: the attachments keep no descriptor of this kind.
fn perf_event() -> io::Result<OwnedFd> {
    /// The first version of `struct perf_event_attr`, 64 bytes.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        rest: [u64; 6],
    }
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const PERF_COUNT_SW_DUMMY: u64 = 9;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    const THIS_THREAD: libc::pid_t = 0;
    const ANY: libc::c_int = -1;
    let attributes = Attributes {
        kind: PERF_TYPE_SOFTWARE,
        size: size_of::<Attributes>() as u32,
        config: PERF_COUNT_SW_DUMMY,
        rest: [0; 6],
    };
    // SAFETY: the kernel reads `size` bytes of the attributes, and returns a descriptor that nobody else knows of.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            THIS_THREAD,
            ANY,
            ANY,
            PERF_FLAG_FD_CLOEXEC,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// `bpf_link_init` and its like name them; a link's name was changed in 5.13.
fn by_name(target: &str) -> Option<Sample> {
    Some(match target.strip_prefix("anon_inode:")? {
        "bpf-map" => Sample::BpfMap,
        "bpf-prog" => Sample::BpfProgram,
        "bpf-link" | "bpf_link" => Sample::BpfLink,
        "btf" => Sample::BpfTypes,
        _ => return None,
    })
}

/// Descriptor → what `/proc` calls its file. The descriptor that this takes itself is left out.
pub(super) fn links() -> io::Result<Vec<(i32, String)>> {
    let mut directory = Dir::new(open(
        "/proc/self/fd",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)?;
    let own = directory.fd()?.as_raw_fd();
    let mut links = Vec::new();
    while let Some(entry) = directory.read() {
        let entry = entry?;
        let name = entry.file_name();
        let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fd == own {
            continue;
        }
        if let Ok(target) = readlinkat(directory.fd()?, name, Vec::new()) {
            links.push((fd, target.to_string_lossy().into_owned()));
        }
    }
    Ok(links)
}
