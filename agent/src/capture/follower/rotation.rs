//! How a connection gives way to another one: the state machine of a rotation.
//!
//! ```text
//!              due, or stalled                it is open: from now on it is read,
//!  ┌───────┐ ─────────────────► ┌─────────┐   and the old one is kept   ┌─────────────┐
//!  │ alone │                    │ opening ├────────────────────────────►│ overlapping │
//!  └───▲───┘ ◄───────────────── └─────────┘                             └──────┬──────┘
//!      │       not opened                                                      │
//!      ├── the new one has caught up, or had its time to: the old one retires ─┤
//!      └── it fell short, or ended with nothing new: the old one is taken back ┘
//! ```
//!
//! A connection that falls short or ends while no other can be gone back to ends the reading. So does a new one that ends
//! after it has brought new lines: the old one does not stand where the position does any more.

/// Where a rotation stands. `Old` is what is kept of the connection that is replaced.
#[derive(Debug)]
pub(super) struct Rotation<Old> {
    state: State<Old>,
}

#[derive(Debug)]
enum State<Old> {
    /// One connection is read.
    Alone,
    /// One is read, and another is being opened.
    Opening,
    /// The new one is read, and the old one is kept.
    Overlapping {
        old: Old,
        /// The old one had no more to repeat when it was replaced.
        old_has_caught_up: bool,
    },
}

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Event<Old> {
    /// The time that an earlier step has set is over.
    Due {
        /// The connection is as good as a new one would be.
        may_grow_old: bool,
    },
    /// The connection is silent although its container writes.
    Stalled,
    /// The second connection is open, and is read from now on.
    Opened { old: Old, old_has_caught_up: bool },
    /// The second connection cannot be opened.
    NotOpened,
    /// The connection that is read has brought the last line that was taken.
    CaughtUp,
    /// The connection that is read begins behind the last line that was taken.
    FellShort,
    /// The connection that is read has ended, or failed.
    Over { brought_new: bool },
}

/// What to do, and when to tell of [`Event::Due`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<Old> {
    pub action: Action<Old>,
    pub timer: Timer,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<Old> {
    /// Read on.
    Wait,
    /// Open another connection, and read on meanwhile.
    OpenAnother,
    /// Close the old connection.
    Retire(Old),
    /// Close the new connection, and read the old one again.
    TakeBack(Old),
    /// Close everything.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// As it was set.
    Unchanged,
    /// Nothing is due while a connection is being opened, which has a time limit of its own.
    Off,
    /// When a connection is to be replaced.
    Rotation,
    /// When a new connection must have caught up.
    CatchUp,
    /// Now.
    AtOnce,
}

impl<Old> Default for Rotation<Old> {
    fn default() -> Self {
        Self { state: State::Alone }
    }
}

impl<Old> Rotation<Old> {
    /// Whether a second connection is open.
    pub(super) fn is_overlapping(&self) -> bool {
        matches!(self.state, State::Overlapping { .. })
    }

    /// Decides what an event leads to.
    pub(super) fn on(&mut self, event: Event<Old>) -> Step<Old> {
        let (state, action, timer) = match (std::mem::replace(&mut self.state, State::Alone), event) {
            (State::Alone, Event::Due { may_grow_old: true }) => (State::Alone, Action::Wait, Timer::Rotation),
            (State::Alone, Event::Due { .. } | Event::Stalled) => (State::Opening, Action::OpenAnother, Timer::Off),

            // Only who was told to open another one tells of it.
            (_, Event::Opened { old, old_has_caught_up }) => {
                let overlapping = State::Overlapping { old, old_has_caught_up };
                (overlapping, Action::Wait, Timer::CatchUp)
            }
            (State::Opening, Event::NotOpened) => (State::Alone, Action::Wait, Timer::Rotation),

            (State::Overlapping { old, .. }, Event::CaughtUp | Event::Due { .. }) => {
                (State::Alone, Action::Retire(old), Timer::Rotation)
            }
            // One that still repeats what is known was asked for no more than the new one.
            (
                State::Overlapping {
                    old,
                    old_has_caught_up: true,
                },
                Event::FellShort,
            ) => (State::Alone, Action::TakeBack(old), Timer::AtOnce),
            // The old one still stands where the position does.
            (State::Overlapping { old, .. }, Event::Over { brought_new: false }) => {
                (State::Alone, Action::TakeBack(old), Timer::Rotation)
            }

            (_, Event::FellShort | Event::Over { .. }) => (State::Alone, Action::End, Timer::Off),
            (state, Event::Due { .. } | Event::Stalled | Event::NotOpened | Event::CaughtUp) => {
                (state, Action::Wait, Timer::Unchanged)
            }
        };
        self.state = state;
        Step { action, timer }
    }
}

#[cfg(test)]
mod tests;
