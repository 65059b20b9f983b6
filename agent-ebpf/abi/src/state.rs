//! The state of a connection, from what its socket says and nothing else.

const RCV_SHUTDOWN: u32 = 1;
const SHUTDOWN_MASK: u32 = 3;
/// `TCP_CLOSE`, which AF_UNIX uses too: `unix_release_sock` puts the dying socket into it.
const CLOSED: u32 = 7;

/// Both ends of a connection as the kernel's structures have them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// `sk->sk_shutdown` of our end.
    pub shutdown: u32,
    /// `sk_state` of the peer's end.
    pub peer_state: u32,
    /// 0 when the peer's socket has no file: not accepted yet, or released.
    pub peer_inode: u64,
}

impl Ends {
    /// Nobody shut down anything; then the peer is not looked at.
    pub const ALIVE: Self = Self {
        shutdown: 0,
        peer_state: 0,
        peer_inode: 0,
    };
}

#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connected, accepted or not.
    Established = 0,
    /// The peer shut down its writing side; our descriptor is open.
    HalfClosed = 1,
    /// The peer released its end; our descriptor is open.
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
        let shut = ends.shutdown & SHUTDOWN_MASK == SHUTDOWN_MASK;
        if shut && ends.peer_inode == 0 && ends.peer_state == CLOSED {
            Self::PeerGone
        } else if ends.shutdown & !own & RCV_SHUTDOWN != 0 {
            Self::HalfClosed
        } else {
            Self::Established
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTABLISHED: u32 = 1;

    fn state(own: u32, shutdown: u32, peer_state: u32, peer_inode: u64) -> State {
        State::of(
            own,
            &Ends {
                shutdown,
                peer_state,
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
}
