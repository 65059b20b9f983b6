//! The state of a connection, from what its socket says and nothing else.

const RCV_SHUTDOWN: u32 = 1;
const SHUTDOWN_MASK: u32 = 3;
/// `TCP_CLOSE`, which AF_UNIX uses too: `unix_release_sock` puts the dying socket into it.
const CLOSED: u16 = 7;

/// The states of TCP (`include/net/tcp_states.h`) that something is concluded from.
pub mod tcp {
    /// Both ends may send.
    pub const ESTABLISHED: u32 = 1;
    /// `connect` was called, and the peer has not answered.
    pub const SYN_SENT: u32 = 2;
    /// Both ends have called `connect` at once, or an accepted socket is not yet complete.
    pub const SYN_RECV: u32 = 3;
    /// Not connected: never, or no longer.
    pub const CLOSE: u32 = 7;
    /// The peer has ended its writing.
    pub const CLOSE_WAIT: u32 = 8;
    /// The peer has ended its writing, then we ended ours, and our FIN is not acknowledged yet.
    pub const LAST_ACK: u32 = 9;
    /// Waits for connections.
    pub const LISTEN: u32 = 10;
    /// Both ends have ended their writing at once, and our FIN is not acknowledged yet.
    pub const CLOSING: u32 = 11;
}

/// How far an entry has come. Only an open one is a connection to anybody but the programs.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Just entered; or connected no longer, and free to be connected again.
    Idle = 0,
    /// `connect` has returned, and the peer has not answered.
    Connecting = 1,
    /// It is a connection: `connect` has succeeded, and for TCP the peer has answered.
    Open = 2,
    /// The attempt has failed, and no call has told the process so yet.
    Failed = 3,
}

/// Both ends of a connection as the kernel's structures have them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// `sk->sk_shutdown` of our end.
    pub shutdown: u32,
    /// `sk_state` of the peer's end; of a TCP connection, where the peer may be anywhere, 0.
    pub peer_state: u16,
    /// `sk_state` of our end of a TCP connection, which tells all; 0 for AF_UNIX, where it tells nothing.
    pub tcp_state: u16,
    /// 0 when the peer's socket has no file: not accepted yet, or released.
    pub peer_inode: u64,
}

impl Ends {
    /// Nobody shut down anything; then the peer is not looked at.
    pub const ALIVE: Self = Self {
        shutdown: 0,
        peer_state: 0,
        tcp_state: 0,
        peer_inode: 0,
    };
}

/// What has become of a connection while our descriptor is open.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connected, accepted or not.
    Established = 0,
    /// The peer shut down its writing side; our descriptor is open. TCP: it has sent its FIN, that is CLOSE_WAIT, or what
    /// becomes of it when we end our writing too.
    HalfClosed = 1,
    /// The peer released its end; our descriptor is open. TCP: reset, timed out, or both ends are through.
    PeerGone = 2,
}

impl State {
    /// The `state` label of `kernel_connections`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::HalfClosed => "half_closed",
            Self::PeerGone => "peer_gone",
        }
    }

    /// `own` is what our own `shutdown` put into `ends.shutdown`. The peer's inode alone does not show its end
    /// (it is 0 before `accept` too), and `sk_shutdown` does not say who set it: hence the peer's state.
    #[inline(always)]
    pub const fn of(own: u32, ends: &Ends) -> Self {
        if ends.tcp_state != 0 {
            return Self::of_tcp(ends.tcp_state as u32);
        }
        let shut = ends.shutdown & SHUTDOWN_MASK == SHUTDOWN_MASK;
        if shut && ends.peer_inode == 0 && ends.peer_state == CLOSED {
            Self::PeerGone
        } else if ends.shutdown & !own & RCV_SHUTDOWN != 0 {
            Self::HalfClosed
        } else {
            Self::Established
        }
    }

    /// TCP tells our own end of writing (FIN_WAIT1 and FIN_WAIT2) from the peer's.
    const fn of_tcp(state: u32) -> Self {
        match state {
            tcp::CLOSE_WAIT | tcp::LAST_ACK | tcp::CLOSING => Self::HalfClosed,
            tcp::CLOSE => Self::PeerGone,
            _ => Self::Established,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTABLISHED: u16 = 1;

    fn state(own: u32, shutdown: u32, peer_state: u16, peer_inode: u64) -> State {
        State::of(
            own,
            &Ends {
                shutdown,
                peer_state,
                tcp_state: 0,
                peer_inode,
            },
        )
    }

    #[test]
    fn both_alive() {
        assert_eq!(state(0, 0, ESTABLISHED, 7), State::Established);
    }

    #[test]
    fn not_yet_accepted() {
        assert_eq!(state(0, 0, ESTABLISHED, 0), State::Established);
    }

    #[test]
    fn peer_shut_down_writing() {
        assert_eq!(state(0, 1, ESTABLISHED, 7), State::HalfClosed);
        // We had ended our own writing before.
        assert_eq!(state(2, 3, ESTABLISHED, 7), State::HalfClosed);
    }

    #[test]
    fn peer_released() {
        assert_eq!(state(0, 3, CLOSED, 0), State::PeerGone);
    }

    #[test]
    fn our_own_shutdown_is_not_the_peers() {
        assert_eq!(state(3, 3, ESTABLISHED, 7), State::Established);
        assert_eq!(
            state(3, 3, ESTABLISHED, 0),
            State::Established,
            "nor when it is not accepted yet"
        );
        assert_eq!(state(1, 1, ESTABLISHED, 7), State::Established);
    }

    #[test]
    fn peer_released_after_our_own_shutdown() {
        assert_eq!(state(3, 3, CLOSED, 0), State::PeerGone);
    }

    #[test]
    fn tcp_says_it_itself() {
        let of = |tcp_state: u32| {
            let tcp_state = tcp_state as u16;
            State::of(
                0,
                &Ends {
                    tcp_state,
                    ..Ends::ALIVE
                },
            )
        };
        // FIN_WAIT1 and FIN_WAIT2: our own end.
        for state in [tcp::ESTABLISHED, 4, 5] {
            assert_eq!(of(state), State::Established, "{state}");
        }
        for state in [tcp::CLOSE_WAIT, tcp::LAST_ACK, tcp::CLOSING] {
            assert_eq!(of(state), State::HalfClosed, "{state}");
        }
        assert_eq!(of(tcp::CLOSE), State::PeerGone);
    }
}
