//! Whom a connection is with.

use abi::{Call, Peer};
use aya_ebpf::helpers::{bpf_probe_read_user, generated};

use crate::kernel::AF_UNIX;

/// `sizeof(sun_path)`
const SUN_PATH: u32 = 108;
const FAMILY: usize = size_of::<u16>();

/// The peer that a `connect` was for. Its address is read when the call has succeeded: it lies where the process put it.
#[inline(always)]
pub fn read(call: &Call) -> Peer {
    let mut peer = Peer {
        family: AF_UNIX,
        ..Peer::OTHER
    };
    let name = (call.address as *const u8).wrapping_add(FAMILY);
    let length = (call.detail & 0xffff).saturating_sub(FAMILY as u32).min(SUN_PATH);
    read_name(&mut peer, name, length);
    peer
}

/// A path ends at its terminator or at the address's end; an abstract name (first byte 0) is all of it, zeros included.
#[inline(always)]
fn read_name(peer: &mut Peer, name: *const u8, length: u32) {
    let buffer = peer.name.as_mut_ptr().cast();
    // SAFETY: `length` + 1 is within the buffer; the helpers refuse a bad source instead of faulting.
    unsafe {
        if bpf_probe_read_user::<u8>(name) == Ok(0) {
            if generated::bpf_probe_read_user(buffer, length, name.cast()) == 0 {
                peer.len = length as u16;
            }
        } else {
            let copied = generated::bpf_probe_read_user_str(buffer, length + 1, name.cast());
            peer.len = copied.saturating_sub(1).max(0) as u16;
        }
    }
}
