//! Who holds a connection's entry, and what becomes of it when the last one lets go.
//!
//! An entry of `CONNECTIONS` is shared by programs on several processors, and a removed entry's memory is given to the
//! next one at once. So whoever touches an entry owns one of its `holders`; the last to let go removes it.

use abi::{Cause, Connection, Measure, Phase, State, tcp};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::{
    atomic::Cell,
    histogram,
    kernel::{self, Address},
    maps::{CONNECT_ERRORS, CONNECTIONS, SOCKETS, count, is_told_of, repaired, walk},
    totals,
};

/// More than one turn only when another processor changed the same counter in between.
const TURNS: u32 = 4;

/// A connection that cannot be removed while this is held. Give it back with [`Held::release`].
#[derive(Clone, Copy)]
pub struct Held(*mut Connection);

/// The same as [`hold`], for who has no use for the entry itself. Global, see `table::settle`.
#[inline(always)]
pub fn hold_unseen(inode: u64) -> bool {
    connection_hold(inode) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_hold(inode: u64) -> u32 {
    take_hold(inode).is_some().into()
}

/// Holds the connection with this inode, if there is one that is not just being removed.
#[inline(never)]
pub fn hold(inode: u64) -> Option<Held> {
    take_hold(inode)
}

#[inline(always)]
fn take_hold(inode: u64) -> Option<Held> {
    if inode == 0 {
        return None;
    }
    let held = Held(CONNECTIONS.get_ptr_mut(inode)?);
    let mut holders = held.holders().load();
    for _ in 0..TURNS {
        if holders == 0 {
            return None;
        }
        match held.holders().replace(holders, holders + 1) {
            // Between the lookup and this the memory may have become another connection's.
            Ok(()) if held.inode() == inode => return Some(held),
            Ok(()) => {
                held.release();
                return None;
            }
            Err(now) => holders = now,
        }
    }
    None
}

/// Takes over a holder that the caller knows to exist: a cell's, or that of a call under way.
#[inline(always)]
pub fn owned(inode: u64) -> Option<Held> {
    if inode == 0 {
        return None;
    }
    CONNECTIONS.get_ptr_mut(inode).map(Held)
}

/// Ends an entry to which no descriptor leads and which no call holds, though it is said to have these holders. The agent has
/// seen so at two looks; should the holders be others by now, it is left alone.
#[inline(always)]
pub fn bury(inode: u64, holders: u64) {
    if let Some(held) = owned(inode)
        && held.holders().replace(holders, 1).is_ok()
    {
        repaired(Cause::Entry);
        held.release();
    }
}

impl Held {
    #[inline(always)]
    pub fn inode(self) -> u64 {
        // SAFETY: held, so the entry is this connection's.
        unsafe { (*self.0).inode }
    }

    #[inline(always)]
    pub fn sk(self) -> Address {
        // SAFETY: held, so the entry is this connection's.
        unsafe { (*self.0).sk as Address }
    }

    #[inline(always)]
    pub fn family(self) -> u16 {
        // SAFETY: held, so the entry is this connection's.
        unsafe { (*self.0).peer.family }
    }

    /// Lets go; the last one out removes the connection. Inline, for it would be a frame too many below `close_range`, and the
    /// verifier allows eight.
    #[inline(always)]
    pub fn release(self) {
        if self.holders().decrement() != 1 {
            return;
        }
        // At 0 nobody else can take hold of it, and only we remove it: the entry is still ours to read.
        // SAFETY: a map's value.
        connection_gone(unsafe { (*self.0).inode });
    }

    /// Brings the phase up to the socket's state.
    #[inline(always)]
    pub fn progress(self, state: u32) {
        if self.phase().load() == Phase::Connecting as u64 {
            connection_progress(self.inode(), state);
        }
    }

    #[inline(always)]
    fn failed(self) {
        // 0: it was ended by ourselves, or the error was fetched already.
        let errno = kernel::error(self.sk());
        let phase = if errno == 0 { Phase::Idle } else { Phase::Failed };
        let changed = self.phase().replace(Phase::Connecting as u64, phase as u64);
        if changed.is_ok() && errno != 0 {
            count(&CONNECT_ERRORS, errno);
        }
    }

    /// From now on it is a connection.
    #[inline(always)]
    pub fn open(self, from: Phase) {
        if self.phase().replace(from as u64, Phase::Open as u64).is_ok() {
            connection_opened(self.inode());
        }
    }

    /// It is none any more, but its socket remains.
    #[inline(always)]
    pub fn disconnected(self) {
        if self.phase().replace(Phase::Open as u64, Phase::Idle as u64).is_ok() {
            // SAFETY: held.
            closed(unsafe { &*self.0 });
        }
    }

    /// The peer's end has been seen, for the first time or again.
    #[inline(always)]
    pub fn ended(self) {
        // SAFETY: a map's value.
        let _ = unsafe { Cell::new(&raw mut (*self.0).ended_ns) }.replace(0, now());
    }

    /// To be written to only where nobody else does.
    #[inline(always)]
    pub fn entry(self) -> *mut Connection {
        self.0
    }

    #[inline(always)]
    pub fn holders(self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).holders) }
    }

    /// What our own `shutdown` did to it: bits of `sk_shutdown`.
    #[inline(always)]
    pub fn own_shutdown(self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).own_shutdown) }
    }

    #[inline(always)]
    pub fn state_at_close(self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).state_at_close) }
    }

    #[inline(always)]
    pub fn phase(self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).phase) }
    }
}

/// See [`Held::progress`]; the caller holds it. Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_progress(inode: u64, state: u32) -> u32 {
    let Some(held) = owned(inode) else { return 0 };
    match state {
        tcp::SYN_SENT | tcp::SYN_RECV => {}
        tcp::CLOSE => held.failed(),
        _ => held.open(Phase::Connecting),
    }
    0
}

/// The caller holds it, and was the one to open it. Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_opened(inode: u64) -> u32 {
    let Some(held) = owned(inode) else { return 0 };
    // SAFETY: held.
    let connection = unsafe {
        Cell::new(&raw mut (*held.0).opened_ns).store(now());
        &*held.0
    };
    if let Some(totals) = totals::of(&connection.peer).or_else(|| totals::first_of(&connection.peer)) {
        totals.opened().count();
    }
    0
}

/// The last holder is gone. Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_gone(inode: u64) -> u32 {
    let Some(held) = owned(inode) else { return 0 };
    // SAFETY: a map's value, which only we remove.
    let connection = unsafe { &*held.0 };
    if connection.phase == Phase::Open as u64 {
        closed(connection);
    }
    if is_told_of(connection.peer.family)
        && SOCKETS.get_ptr(connection.sk).is_some_and(|named| {
            // SAFETY: a map's value. The address may be a later connection's by now.
            unsafe { *named == inode }
        })
    {
        let _ = SOCKETS.remove(connection.sk);
    }
    if CONNECTIONS.remove(inode).is_ok()
        && let Some(entries) = walk!(entries)
    {
        entries.decrement();
    }
    0
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Counts what has been open until now.
#[inline(always)]
fn closed(connection: &Connection) {
    let now = now();
    histogram::observe(Measure::Age, now.saturating_sub(connection.opened_ns));
    let after_peer = connection.state_at_close != State::Established as u64;
    if after_peer {
        histogram::observe(Measure::CloseWait, now.saturating_sub(connection.ended_ns));
    }
    if let Some(totals) = totals::of(&connection.peer).or_else(totals::of_others) {
        totals.closed().count();
        if after_peer {
            totals.closed_after_peer().count();
        }
    }
}
