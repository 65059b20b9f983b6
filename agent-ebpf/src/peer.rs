//! Whom a connection is with. The name is written where it is to lie: the stack has no room for a second one.

use abi::{Call, INET, INET6, Peer};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user, generated};

use crate::{
    kernel::{self, AF_UNIX, Address, Bound},
    maps::EXACT,
};

/// `sizeof(sun_path)`
const SUN_PATH: u32 = 108;
const FAMILY: usize = size_of::<u16>();

/// The peer that a `connect` was for. Its address is read when the call has succeeded: it lies where the process put it.
#[inline(always)]
pub fn of_call(call: &Call, peer: &mut Peer) {
    peer.family = AF_UNIX;
    let (name, length) = name(call.address as Address, call.detail & 0xffff);
    let buffer = peer.name.as_mut_ptr().cast();
    // SAFETY: `length` + 1 is within the buffer; the helpers refuse a bad source instead of faulting.
    unsafe {
        if bpf_probe_read_user::<u8>(name) == Ok(0) {
            if generated::bpf_probe_read_user(buffer, length, name.cast()) == 0 {
                peer.len = length as u16;
            }
        } else {
            peer.len = text(generated::bpf_probe_read_user_str(buffer, length + 1, name.cast()));
        }
    }
}

/// The same, of an address in the kernel's memory.
#[inline(always)]
pub fn of_socket(bound: &Bound, peer: &mut Peer) {
    peer.family = AF_UNIX;
    let (name, length) = name(bound.name, bound.length & 0xffff);
    let buffer = peer.name.as_mut_ptr().cast();
    // SAFETY: as above.
    unsafe {
        if bpf_probe_read_kernel::<u8>(name) == Ok(0) {
            if generated::bpf_probe_read_kernel(buffer, length, name.cast()) == 0 {
                peer.len = length as u16;
            }
        } else {
            peer.len = text(generated::bpf_probe_read_kernel_str(buffer, length + 1, name.cast()));
        }
    }
}

/// Whether `connect` was told to end what it had connected to.
#[inline(always)]
pub fn is_unspecified(call: &Call) -> bool {
    // SAFETY: the helper refuses a bad address instead of faulting.
    unsafe { bpf_probe_read_user(call.address as *const u16) == Ok(0) }
}

/// Whether a hook tells of such a socket what happens in other processes' time.
#[inline(always)]
pub fn is_told_of(family: u16) -> bool {
    family != AF_UNIX || EXACT.load() != 0
}

/// Of TCP: the socket has it, whoever connected it.
#[inline(always)]
pub fn of_tcp(sk: Address, family: u16, peer: &mut Peer) {
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    const PORT: usize = size_of::<u16>();
    let (port, mut address) = kernel::inet_peer(sk);
    peer.family = INET;
    peer.len = (PORT + 4) as u16;
    peer.name[..PORT].copy_from_slice(&port.to_ne_bytes());
    if family == INET6 {
        let long = kernel::inet6_peer(sk);
        if long[..12] != MAPPED {
            peer.family = INET6;
            peer.len = (PORT + 16) as u16;
            peer.name[PORT..PORT + 16].copy_from_slice(&long);
            return;
        }
        address = [long[12], long[13], long[14], long[15]];
    }
    peer.name[PORT..PORT + 4].copy_from_slice(&address);
}

/// A path ends at its terminator or at the address's end; an abstract name (first byte 0) is all of it, zeros included.
#[inline(always)]
fn name(address: Address, length: u32) -> (Address, u32) {
    (
        address.wrapping_add(FAMILY),
        length.saturating_sub(FAMILY as u32).min(SUN_PATH),
    )
}

/// The length of a string, from what was copied with its terminator.
#[inline(always)]
fn text(copied: i64) -> u16 {
    copied.saturating_sub(1).max(0) as u16
}
