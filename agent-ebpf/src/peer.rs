//! Whom a `connect` is for, read at its entry: from the address given, as the peer may be gone by the exit.

use abi::{Connection, Limited, Peer};
use aya_ebpf::{
    helpers::{bpf_probe_read_user, generated},
    programs::TracePointContext,
};

use crate::{
    call::{Thread, argument},
    kernel::AF_UNIX,
    maps::{CONNECTING, refused},
};

/// `sizeof(sun_path)`
const SUN_PATH: usize = 108;
const FAMILY: usize = size_of::<u16>();

/// Remembers, for the thread, the connection that it is about to make.
#[inline(always)]
pub fn connecting(thread: Thread, ctx: &TracePointContext) {
    let address = argument(ctx, 1) as *const u8;
    // SAFETY: the helper refuses a bad address instead of faulting.
    if unsafe { bpf_probe_read_user::<u16>(address.cast()) } != Ok(AF_UNIX) {
        return;
    }
    let mut connection = Connection {
        inode: 0,
        opened_ns: 0,
        holders: 0,
        own_shutdown: 0,
        state_at_close: 0,
        opened_fd: argument(ctx, 0) as u32,
        call_site: 0,
        peer: Peer {
            family: AF_UNIX,
            ..Peer::OTHER
        },
    };
    let length = (argument(ctx, 2) as usize & 0xffff)
        .saturating_sub(FAMILY)
        .min(SUN_PATH);
    read_name(&mut connection.peer, address.wrapping_add(FAMILY), length as u32);
    if CONNECTING.insert(thread.0, &connection, 0).is_err() {
        refused(Limited::Calls);
    }
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
