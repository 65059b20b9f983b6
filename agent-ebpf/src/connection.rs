//! A connection: connect → established → (half closed) → released.
//!
//! AF_UNIX: `connect` makes it or fails. TCP: `connect` may return before the peer has answered, so the entry is there from then
//! on, and opens when the socket's state says so ([`Phase`]). That is told by the tracepoint of the state's changes
//! (`inet_sock_set_state`), which runs wherever a packet arrives, in anybody's time; and whatever it should miss, by the next look.
//!
//! Its entry in `CONNECTIONS` is only touched by who holds it ([`Held`]).

use abi::{Call, Connection, Limited, Mark, Peer, Phase, State, tcp};
use aya_ebpf::bindings::BPF_NOEXIST;

use crate::{
    call::{self, Thread},
    descriptor,
    held::{Held, hold, owned},
    kernel::{self, AF_UNIX, Address, Socket},
    maps::{ANSWERS, CONNECTIONS, SOCKETS, is_told_of, refused, walk},
    peer,
};

/// `connect` has returned on a stream socket of this family. Whether that is a failure that is not counted yet.
#[inline(always)]
pub fn attempted(thread: Thread, call: &Call, socket: Socket, sk: Address, family: u16, result: i64) -> bool {
    let is_tcp = family != AF_UNIX;
    let phase = match result {
        0 if is_tcp && peer::is_unspecified(call) => {
            disconnected(socket.inode);
            return false;
        }
        0 => Phase::Open,
        _ if !is_tcp => return true,
        // Interrupted, it goes on by itself.
        EINPROGRESS | EINTR | ..=ERESTART => Phase::Connecting,
        _ => {
            let Some(held) = hold(socket.inode) else { return true };
            let told = held.phase().replace(Phase::Failed as u64, Phase::Idle as u64);
            held.release();
            return told.is_err();
        }
    };
    let name = if is_tcp {
        Name::Socket(sk, family)
    } else {
        Name::Call(call, sk)
    };
    enter(call.fd, socket, sk, name, phase, true, Some(thread));
    false
}

const EINPROGRESS: i64 = -115;
const EINTR: i64 = -4;
/// `ERESTARTSYS` and the like, which no process sees.
const ERESTART: i64 = -512;

/// `connect` to nothing (`AF_UNSPEC`) ends a connection and keeps its socket.
#[inline(always)]
fn disconnected(inode: u64) {
    let Some(held) = hold(inode) else { return };
    held.disconnected();
    held.release();
}

/// A TCP socket goes over to another state, in whosesoever time.
#[inline(always)]
pub fn changed(sk: Address, state: u32) {
    if !matches!(state, tcp::ESTABLISHED | tcp::CLOSE_WAIT | tcp::CLOSING | tcp::CLOSE) {
        return;
    }
    let Some(inode) = SOCKETS.get_ptr(sk as u64) else {
        return;
    };
    // SAFETY: a map's value.
    let Some(held) = hold(unsafe { *inode }) else { return };
    if held.sk() == sk {
        held.progress(state);
        if state != tcp::ESTABLISHED && held.phase().load() == Phase::Open as u64 {
            held.ended();
        }
    }
    held.release();
}

/// A unix socket is released or ends its writing, in whosesoever process: if its peer is a connection of ours, that has ended.
#[inline(always)]
pub fn ended_by(sk: Address) {
    let ours = kernel::unix_peer(sk);
    let Some(inode) = SOCKETS.get_ptr(ours as u64) else {
        return;
    };
    // SAFETY: a map's value.
    let Some(held) = hold(unsafe { *inode }) else { return };
    if held.sk() == ours {
        held.ended();
    }
    held.release();
}

/// A descriptor that no hook has seen come: from before the watch, or received. It may be one more of a known connection. If
/// it is of an unknown one, that counts as opened now, and this is true. One that was refused is tried again at every look, and
/// counted as refused once.
#[inline(always)]
pub fn found(fd: u32, first: bool) -> bool {
    connection_found(fd, first.into()) != 0
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_found(fd: u32, first: u32) -> u32 {
    let socket = kernel::socket(fd);
    let sk = socket.sk();
    let family = socket.stream(sk);
    if family == 0 {
        return 0;
    }
    if let Some(held) = hold(socket.inode) {
        descriptor::settle(fd);
        held.release();
        return 0;
    }
    match name_of_peer(sk, family) {
        Some(name) => enter(fd, socket, sk, name, Phase::Open, first != 0, None).into(),
        None => 0,
    }
}

/// None if the socket is not the end that connected.
#[inline(always)]
fn name_of_peer<'a>(sk: Address, family: u16) -> Option<Name<'a>> {
    if family == AF_UNIX {
        kernel::connected_to(sk).map(Name::Bound)
    } else {
        kernel::is_tcp_connected(sk).then_some(Name::Socket(sk, family))
    }
}

/// Whether it is a connection that the ledger has no entry of.
#[inline(always)]
pub fn is_unknown(fd: u32) -> bool {
    connection_is_unknown(fd) != 0
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_is_unknown(fd: u32) -> u32 {
    let socket = kernel::socket(fd);
    let sk = socket.sk();
    let family = socket.stream(sk);
    if family == 0 || name_of_peer(sk, family).is_none() {
        return 0;
    }
    match hold(socket.inode) {
        Some(held) => {
            held.release();
            0
        }
        None => 1,
    }
}

/// Where the peer's name is.
enum Name<'a> {
    /// In the process's memory, as it gave it to `connect` for this socket.
    Call(&'a Call, Address),
    Bound(kernel::Bound),
    /// In the TCP socket, of this family.
    Socket(Address, u16),
}

impl Name<'_> {
    /// Into the peer of the connection with this inode, which the caller holds.
    #[inline(always)]
    fn write(self, inode: u64, peer: &mut Peer) {
        match self {
            Name::Call(call, sk) => peer::of_call(call, sk, peer),
            Name::Bound(bound) => peer::of_socket(&bound, peer),
            Name::Socket(sk, family) => peer::of_tcp(inode, sk, family),
        }
    }
}

#[inline(always)]
fn enter(fd: u32, socket: Socket, sk: Address, name: Name, phase: Phase, first: bool, opener: Option<Thread>) -> bool {
    if !descriptor::is_watched(fd) {
        if first {
            refused(Limited::Descriptors);
        }
        return false;
    }
    if let Err(error) = CONNECTIONS.insert(socket.inode, &BLANK, u64::from(BPF_NOEXIST)) {
        if error == -EEXIST {
            again(socket.inode, name, phase);
        } else if first {
            refused(Limited::Connections);
        }
        return false;
    }
    if let Some(entries) = walk!(entries) {
        entries.count();
    }
    let Some(held) = owned(socket.inode) else { return false };
    // SAFETY: a map's value, which nobody else touches before it has a holder.
    let connection = unsafe { &mut *held.entry() };
    connection.inode = socket.inode;
    connection.sk = sk as u64;
    name.write(socket.inode, &mut connection.peer);
    if let Some(mark) = opener.and_then(Thread::mark) {
        // SAFETY: a map's value, which this thread does not write to while it is in a system call.
        unsafe { kernel::copy(mark, &raw mut connection.mark) };
    }
    begin(held, phase);
    held.holders().store(1);
    if is_told_of(held.family()) {
        let _ = SOCKETS.insert(sk as u64, socket.inode, 0);
    }
    if held.family() != AF_UNIX {
        // What happened before it was in the map.
        held.progress(kernel::tcp_state(sk));
    }
    descriptor::enter(fd, socket.file, held);
    true
}

/// As it is entered, to be filled in where it lies: the stack has no room for it. It has no holder, so that nobody takes hold
/// of a half-written entry.
static BLANK: Connection = Connection {
    inode: 0,
    sk: 0,
    opened_ns: 0,
    ended_ns: 0,
    phase: Phase::Idle as u64,
    holders: 0,
    own_shutdown: 0,
    state_at_close: State::Established as u64,
    mark: Mark::NONE,
    peer: Peer::OTHER,
};

#[inline(always)]
fn begin(held: Held, phase: Phase) {
    if phase as u64 == Phase::Open as u64 {
        held.open(Phase::Idle);
    } else {
        held.phase().store(phase as u64);
    }
}

/// A socket that the ledger has already is connected: a second call has found it so; or a first attempt has failed, and
/// the peer may be another one now.
#[inline(always)]
fn again(inode: u64, name: Name, phase: Phase) {
    let Some(held) = hold(inode) else { return };
    let before = held.phase().load();
    if before == Phase::Idle as u64 || before == Phase::Failed as u64 {
        // SAFETY: held; in these phases nobody reads it, and a socket is connected by one thread at a time (`lock_sock`).
        let connection = unsafe { &mut *held.entry() };
        connection.ended_ns = 0;
        connection.state_at_close = BLANK.state_at_close;
        connection.peer = BLANK.peer;
        name.write(inode, &mut connection.peer);
        held.phase().store(Phase::Idle as u64);
        begin(held, phase);
    }
    held.progress(kernel::tcp_state(held.sk()));
    held.release();
}

const EEXIST: i32 = 17;

/// A descriptor is about to be closed: what its connection looks like now is what it looked like at its close.
#[inline(always)]
pub fn closing(fd: u32) {
    connection_closing(fd);
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_closing(fd: u32) -> u32 {
    let Some(held) = hold(descriptor::connection(fd)) else {
        return 0;
    };
    let ends = kernel::ends(held.sk(), held.family());
    if ends.tcp_state != 0 {
        held.progress(ends.tcp_state.into());
    }
    if ends.tcp_state != 0 || ends.shutdown != 0 {
        let own = held.own_shutdown().load() as u32;
        let state = State::of(own, &ends) as u64;
        if state != State::Established as u64 {
            held.ended();
        }
        held.state_at_close().store(state);
    }
    held.release();
    0
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
            name: call::SHUTDOWN,
            ..Call::default()
        })
        .is_err()
    {
        held.release();
    }
}

/// What a descriptor looks like, if it is a connection, and still is after it was read: into the answer of this index.
#[inline(always)]
pub fn look(fd: u32, index: u32) {
    connection_look(fd, index);
}

/// Global, see `table::settle`.
///
/// Reads without a holder: as long as the cell names the connection, the cell's own keeps the entry.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn connection_look(fd: u32, index: u32) -> u32 {
    let Some(answer) = ANSWERS.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: a map's value; the agent does not read it before this program has ended.
    let answer = unsafe { &mut *answer };
    answer.inode = 0;
    let inode = descriptor::connection(fd);
    if inode == 0 {
        return 0;
    }
    let Some(entry) = CONNECTIONS.get_ptr(inode) else {
        return 0;
    };
    // SAFETY: a map's value.
    let connection = unsafe { &*entry };
    answer.ends = kernel::ends(connection.sk as Address, connection.peer.family);
    let state = State::of(connection.own_shutdown as u32, &answer.ends);
    let is_news = connection.phase == Phase::Connecting as u64
        || connection.ended_ns == 0 && state as u64 != State::Established as u64;
    if is_news && let Some(held) = hold(inode) {
        held.progress(answer.ends.tcp_state.into());
        if state as u64 != State::Established as u64 {
            held.ended();
        }
        held.release();
    }
    if connection.phase != Phase::Open as u64 {
        return 0;
    }
    answer.opened_ns = connection.opened_ns;
    answer.ended_ns = connection.ended_ns;
    answer.own_shutdown = connection.own_shutdown;
    // SAFETY: a map's value; see above.
    unsafe {
        kernel::copy(&raw const (*entry).mark, &raw mut answer.mark);
        kernel::copy(&raw const (*entry).peer, &raw mut answer.peer);
    }
    if kernel::is_socket(kernel::file(fd), inode) && descriptor::connection(fd) == inode {
        answer.inode = inode;
    }
    0
}
