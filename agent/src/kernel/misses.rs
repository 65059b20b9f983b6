//! What the kernel did not tell its programs: how often it skipped one of them, because another task was inside it.

#![expect(unsafe_code, reason = "one system call is made for which no crate has a wrapper")]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::Ebpf;

use super::object::ON_DEMAND;
use super::snapshot::Missed;

/// The misses of each program that is attached. Programs at the tracepoints of system calls are counted from Linux 6.7 on.
pub(super) fn read(ebpf: &Ebpf) -> Vec<Missed> {
    let attached = ebpf.programs().filter(|(name, _)| !ON_DEMAND.contains(name));
    attached
        .filter_map(|(name, program)| {
            Some(Missed {
                program: name.to_owned(),
                events: recursion_misses(program.fd().ok()?.as_fd())?,
            })
        })
        .collect()
}

/// `bpf_prog_info.recursion_misses` (since 5.12), which aya does not show.
fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    // include/uapi/linux/bpf.h
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    /// In words of eight bytes: the struct up to this field.
    const LENGTH: usize = 27;
    #[repr(C)]
    struct Attributes {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0_u64; LENGTH];
    let attributes = Attributes {
        fd: program.as_raw_fd() as u32,
        len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes no more than `len` bytes, and follows no address, as all lengths in them are 0.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    (result == 0).then_some(info[LENGTH - 1])
}
