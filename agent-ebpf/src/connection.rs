//! A connection: connect → established → (half closed) → released.
//!
//! An entry of `CONNECTIONS` is shared by programs on several processors, and a removed entry's memory is given to the
//! next one at once. So whoever touches an entry owns one of its `holders`; the last to let go removes it.

use abi::{Answer, Call, Connection, Limited, Mark, Peer, State, Totals};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_boot_ns};

use crate::{
    atomic::Cell,
    call::Thread,
    descriptor,
    kernel::{self, AF_UNIX, Address, Socket},
    maps::{CONNECTIONS, PEERS, refused},
    peer,
};

/// More than one turn only when another processor changed the same counter in between.
const TURNS: u32 = 4;

/// A connection that cannot be removed while this is held. Give it back with [`Held::release`].
#[derive(Clone, Copy)]
pub struct Held(*mut Connection);

/// Holds the connection with this inode, if there is one that is not just being removed.
#[inline(never)]
pub fn hold(inode: u64) -> Option<Held> {
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

impl Held {
    #[inline(always)]
    pub fn inode(self) -> u64 {
        // SAFETY: held, so the entry is this connection's.
        unsafe { (*self.0).inode }
    }

    #[inline(always)]
    fn sk(self) -> Address {
        // SAFETY: held, so the entry is this connection's.
        unsafe { (*self.0).sk as Address }
    }

    /// Lets go; the last one out removes the connection.
    #[inline(never)]
    pub fn release(self) {
        if self.holders().decrement() != 1 {
            return;
        }
        // At 0 nobody else can take hold of it, and only we remove it: the entry is still ours to read.
        // SAFETY: a map's value.
        let connection = unsafe { &*self.0 };
        let inode = connection.inode;
        if let Some(totals) = totals(&connection.peer).or_else(other_totals) {
            totals.closed().count();
            if connection.state_at_close != State::Established as u64 {
                totals.closed_after_peer().count();
            }
        }
        let _ = CONNECTIONS.remove(inode);
    }

    #[inline(always)]
    fn holders(self) -> Cell {
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
    fn state_at_close(self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).state_at_close) }
    }
}

/// `connect` succeeded.
#[inline(always)]
pub fn opened(thread: Thread, call: &Call, socket: Socket, sk: Address) {
    enter(
        call.fd,
        socket,
        sk,
        |peer| peer::of_call(call, peer),
        true,
        Some(thread),
    );
}

/// A descriptor that no hook has seen come: from before the watch, or received. It may be one more of a known connection. If
/// it is of an unknown one, that counts as opened now. One that was refused is tried again at every look, and counted as
/// refused once.
#[inline(always)]
pub fn found(fd: u32, first: bool) {
    connection_found(fd, first.into());
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_found(fd: u32, first: u32) -> u32 {
    let socket = kernel::socket(fd);
    let sk = socket.sk();
    if !socket.is_unix_stream(sk) {
        return 0;
    }
    if let Some(held) = hold(socket.inode) {
        descriptor::settle(fd);
        held.release();
    } else if let Some(bound) = kernel::connected_to(sk) {
        enter(fd, socket, sk, |peer| peer::of_socket(&bound, peer), first != 0, None);
    }
    0
}

#[inline(always)]
fn enter(fd: u32, socket: Socket, sk: Address, name: impl FnOnce(&mut Peer), first: bool, opener: Option<Thread>) {
    if !descriptor::is_watched(fd) {
        if first {
            refused(Limited::Descriptors);
        }
        return;
    }
    let mut connection = Connection {
        inode: socket.inode,
        file: socket.file as u64,
        sk: sk as u64,
        // SAFETY: the helper has no preconditions.
        opened_ns: unsafe { bpf_ktime_get_boot_ns() },
        // Entered with no holder, so that nobody takes hold of a half-written entry.
        holders: 0,
        own_shutdown: 0,
        state_at_close: State::Established as u64,
        mark: Mark::NONE,
        peer: Peer {
            family: AF_UNIX,
            ..Peer::OTHER
        },
    };
    name(&mut connection.peer);
    if let Err(error) = CONNECTIONS.insert(socket.inode, &connection, u64::from(BPF_NOEXIST)) {
        if first && error != -EEXIST {
            refused(Limited::Connections);
        }
        return;
    }
    let Some(held) = owned(socket.inode) else { return };
    if let Some(mark) = opener.and_then(Thread::mark) {
        // SAFETY: a map's value, which nobody else touches before it has a holder; and one that this thread does not write to
        // while it is in a system call.
        unsafe { (*held.0).mark = *mark };
    }
    if let Some(totals) = totals(&connection.peer).or_else(|| first_totals(&connection.peer)) {
        totals.opened().count();
    }
    held.holders().store(1);
    descriptor::enter(fd, socket.file, held);
}

const E2BIG: i32 = 7;
const EEXIST: i32 = 17;

/// A descriptor is about to be closed: what its connection looks like now is what it looked like at its close.
#[inline(always)]
pub fn closing(fd: u32) {
    let Some(held) = hold(descriptor::connection(fd)) else {
        return;
    };
    let ends = kernel::ends(held.sk());
    if ends.shutdown != 0 {
        let own = held.own_shutdown().load() as u32;
        held.state_at_close().store(State::of(own, &ends) as u64);
    }
    held.release();
}

/// `shutdown(fd, how)` is about to run: what it will set is ours from now on, so that no reader in between takes it for the
/// peer's.
#[inline(always)]
pub fn shutting_down(thread: Thread, fd: u32, how: u32) {
    // SHUT_RD, SHUT_WR, SHUT_RDWR are 0, 1, 2; the bits of `sk_shutdown` one more.
    if how > 2 {
        return;
    }
    let Some(held) = hold(descriptor::connection(fd)) else {
        return;
    };
    let wanted = u64::from(how + 1);
    let detail = (wanted & !held.own_shutdown().set(wanted)) as u32;
    if thread
        .enter(Call {
            inode: held.inode(),
            fd,
            detail,
            ..Call::default()
        })
        .is_err()
    {
        held.release();
    }
}

/// What a descriptor looks like, if it is a connection, and still is after it was read.
///
/// Reads without a holder: as long as the cell names the connection, the cell's own keeps the entry.
#[inline(never)]
pub fn look(fd: u32, answer: &mut Answer) {
    answer.inode = 0;
    let inode = descriptor::connection(fd);
    if inode == 0 {
        return;
    }
    let Some(entry) = CONNECTIONS.get_ptr(inode) else {
        return;
    };
    // SAFETY: a map's value.
    let connection = unsafe { &*entry };
    answer.ends = kernel::ends(connection.sk as Address);
    answer.opened_ns = connection.opened_ns;
    answer.own_shutdown = connection.own_shutdown;
    answer.mark = connection.mark;
    answer.peer = connection.peer;
    if kernel::file(fd) as u64 == connection.file && descriptor::connection(fd) == inode {
        answer.inode = inode;
    }
}

/// Peers are never removed: those that found room at the opening are there at the close, and the others still are not.
#[inline(always)]
fn totals(peer: &Peer) -> Option<Counters> {
    PEERS.get_ptr_mut(peer).map(Counters)
}

#[inline(always)]
fn first_totals(peer: &Peer) -> Option<Counters> {
    if PEERS.insert(peer, Totals::ZERO, u64::from(BPF_NOEXIST)) == Err(-E2BIG) {
        refused(Limited::Peers);
    }
    totals(peer).or_else(other_totals)
}

#[inline(always)]
fn other_totals() -> Option<Counters> {
    totals(&Peer::OTHER)
}

/// [`Totals`] in their map.
struct Counters(*mut Totals);

impl Counters {
    #[inline(always)]
    fn opened(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).opened) }
    }

    #[inline(always)]
    fn closed(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).closed) }
    }

    #[inline(always)]
    fn closed_after_peer(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).closed_after_peer) }
    }
}
