//! Whom a connection is with. The name is written where it is to lie: the stack has no room for a second one.

use abi::{Call, INET, INET6, Peer};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user, generated};

use crate::{
    held,
    kernel::{self, AF_UNIX, Address, Bound},
};

/// `sizeof(sun_path)`
const SUN_PATH: u32 = 108;
const FAMILY: usize = size_of::<u16>();

/// The peer that a `connect` was for. Its address is read when the call has succeeded: it lies where the process put it. A
/// program cannot wait for memory that is not there just then, because the kernel is moving it or another thread has unmapped
/// it; then the name that the peer is bound to has to do.
#[inline(always)]
pub fn of_call(call: &Call, sk: Address, peer: &mut Peer) {
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
    if peer.len == 0
        && let Some(bound) = kernel::bound_peer(sk)
    {
        of_socket(&bound, peer);
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

/// The peer of a TCP socket: the socket has it, whoever connected it. The caller holds the connection with this inode.
#[inline(always)]
pub fn of_tcp(inode: u64, sk: Address, family: u16) {
    peer_of_tcp(inode, sk as u64, family.into());
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn peer_of_tcp(inode: u64, sk: u64, family: u32) -> u32 {
    const MAPPED: [u32; 3] = [0, 0, 0xffff_u32.to_be()];
    const PORT: usize = size_of::<u16>();
    let Some(held) = held::owned(inode) else { return 0 };
    // SAFETY: held by the caller, who has just entered it or found it to be connected to nobody.
    let peer = unsafe { &mut (*held.entry()).peer };
    let sk = sk as Address;
    let (port, mut address) = kernel::inet_peer(sk);
    peer.family = INET;
    peer.len = (PORT + 4) as u16;
    peer.name[..PORT].copy_from_slice(&port.to_ne_bytes());
    if family == u32::from(INET6) {
        let long = kernel::inet6_peer(sk);
        if long[..3] != MAPPED {
            peer.family = INET6;
            peer.len = (PORT + 16) as u16;
            for (word, bytes) in long.iter().zip(peer.name[PORT..].chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            return 0;
        }
        address = long[3].to_ne_bytes();
    }
    peer.name[PORT..PORT + 4].copy_from_slice(&address);
    0
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
