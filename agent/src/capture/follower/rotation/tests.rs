//! The rotation against a model that keeps every event and looks at all of them anew each time; and what must hold of
//! connections whatever happens.

use std::collections::BTreeMap;

use super::*;

/// A connection's number, in the order of opening.
type Number = u32;

/// An event without what it hands over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Due { may_grow_old: bool },
    Stalled,
    Opened { old_has_caught_up: bool },
    NotOpened,
    CaughtUp,
    FellShort,
    Over { brought_new: bool },
}

/// The events so far; nothing else is remembered.
#[derive(Default)]
struct Model(Vec<Kind>);

impl Model {
    /// The event that a second connection is there since, as long as it is.
    fn overlaps_since(&self) -> Option<usize> {
        let opened = self.0.iter().rposition(|event| matches!(event, Kind::Opened { .. }))?;
        let ends = |event: &Kind| {
            matches!(
                event,
                Kind::CaughtUp | Kind::Due { .. } | Kind::FellShort | Kind::Over { .. }
            )
        };
        (!self.0[opened + 1..].iter().any(ends)).then_some(opened)
    }

    /// Whether a second connection was asked for, and neither came nor failed.
    fn is_opening(&self) -> bool {
        let answers = |event: &Kind| matches!(event, Kind::Opened { .. } | Kind::NotOpened);
        let answered = self.0.iter().rposition(answers).map_or(0, |answer| answer + 1);
        let mut prefix = Model(self.0[..answered].to_vec());
        self.0[answered..].iter().any(|&event| {
            let alone = prefix.overlaps_since().is_none();
            prefix.0.push(event);
            alone && matches!(event, Kind::Due { may_grow_old: false } | Kind::Stalled)
        })
    }

    /// What an event leads to, by name.
    fn on(&mut self, event: Kind) -> (&'static str, Timer) {
        let (opening, overlaps) = (self.is_opening(), self.overlaps_since());
        self.0.push(event);
        if let Some(opened) = overlaps {
            let old_may_be_read = self.0[opened]
                == Kind::Opened {
                    old_has_caught_up: true,
                };
            return match event {
                Kind::CaughtUp | Kind::Due { .. } => ("retire", Timer::Rotation),
                Kind::FellShort if old_may_be_read => ("take back", Timer::AtOnce),
                Kind::Over { brought_new: false } => ("take back", Timer::Rotation),
                Kind::FellShort | Kind::Over { .. } => ("end", Timer::Off),
                _ => ("wait", Timer::Unchanged),
            };
        }
        match event {
            Kind::FellShort | Kind::Over { .. } => ("end", Timer::Off),
            Kind::Opened { .. } => ("wait", Timer::CatchUp),
            Kind::NotOpened => ("wait", Timer::Rotation),
            Kind::Due { .. } | Kind::Stalled if opening => ("wait", Timer::Unchanged),
            Kind::Due { may_grow_old: true } => ("wait", Timer::Rotation),
            Kind::Due { .. } | Kind::Stalled => ("open another", Timer::Off),
            Kind::CaughtUp => ("wait", Timer::Unchanged),
        }
    }
}

/// An event that can come now: only what was asked for is opened or not opened.
fn random_event(random: &mut fastrand::Rng, is_opening: bool) -> Kind {
    loop {
        let flag = random.bool();
        let event = match random.u8(..7) {
            0 => Kind::Due { may_grow_old: flag },
            1 => Kind::Stalled,
            2 if is_opening => Kind::Opened {
                old_has_caught_up: flag,
            },
            3 if is_opening => Kind::NotOpened,
            4 => Kind::CaughtUp,
            5 if random.u8(..4) == 0 => Kind::FellShort,
            6 if random.u8(..4) == 0 => Kind::Over { brought_new: flag },
            _ => continue,
        };
        return event;
    }
}

/// The connections, as a follower that obeys has them.
#[derive(Default)]
struct Connections {
    opened: Number,
    read: Number,
    kept: Option<Number>,
    closed: Vec<Number>,
}

impl Connections {
    fn obey(&mut self, action: &Action<Number>) -> &'static str {
        match *action {
            Action::Wait => "wait",
            Action::OpenAnother => "open another",
            Action::Retire(old) => {
                assert_eq!(self.kept.take(), Some(old), "another one than was kept is retired");
                self.closed.push(old);
                "retire"
            }
            Action::TakeBack(old) => {
                assert_eq!(self.kept.take(), Some(old), "another one than was kept is taken back");
                self.closed.push(std::mem::replace(&mut self.read, old));
                "take back"
            }
            Action::End => {
                self.closed.extend(self.kept.take());
                self.closed.push(self.read);
                "end"
            }
        }
    }

    /// Each is read, kept, or closed, and only once.
    fn assert_accounted(&self, ended: bool) {
        let mut all = self.closed.clone();
        all.extend(self.kept);
        all.extend((!ended).then_some(self.read));
        all.sort_unstable();
        assert_eq!(all, (0..=self.opened).collect::<Vec<_>>());
    }
}

#[test]
fn it_does_what_the_model_does() {
    let mut seen = BTreeMap::<(&str, &str), u32>::new();
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut rotation, mut model) = (Rotation::default(), Model::default());
        let mut connections = Connections::default();
        // Nothing is due while nothing is set; then only an answer can come, or the end.
        let mut timer_is_set = true;
        for number in 0..60 {
            let before = name(&rotation);
            let kind = random_event(&mut random, model.is_opening());
            let event = match kind {
                Kind::Due { may_grow_old } => Event::Due { may_grow_old },
                Kind::Stalled => Event::Stalled,
                Kind::Opened { old_has_caught_up } => {
                    connections.opened += 1;
                    let old = std::mem::replace(&mut connections.read, connections.opened);
                    connections.kept = Some(old);
                    Event::Opened { old, old_has_caught_up }
                }
                Kind::NotOpened => Event::NotOpened,
                Kind::CaughtUp => Event::CaughtUp,
                Kind::FellShort => Event::FellShort,
                Kind::Over { brought_new } => Event::Over { brought_new },
            };
            let step = rotation.on(event);
            let did = connections.obey(&step.action);
            let what = format!("seed {seed}, event {number}: {kind:?} while {before}");
            assert_eq!((did, step.timer), model.on(kind), "{what}");
            let ended = step.action == Action::End;
            connections.assert_accounted(ended);
            match step.timer {
                Timer::Unchanged => {}
                Timer::Off => timer_is_set = false,
                Timer::Rotation | Timer::CatchUp | Timer::AtOnce => timer_is_set = true,
            }
            *seen.entry((before, did)).or_default() += 1;
            if ended {
                break;
            }
            assert_eq!(timer_is_set, !model.is_opening(), "{what}: it waits for ever");
            assert_eq!(rotation.is_overlapping(), connections.kept.is_some(), "{what}");
        }
    }
    let steps: Vec<_> = seen.keys().copied().collect();
    let all = [
        ("alone", "end"),
        ("alone", "open another"),
        ("alone", "wait"),
        ("opening", "end"),
        ("opening", "wait"),
        ("overlapping", "end"),
        ("overlapping", "retire"),
        ("overlapping", "take back"),
        ("overlapping", "wait"),
    ];
    assert_eq!(steps, all, "{seen:?}");
    assert!(seen.values().all(|&times| times > 100), "{seen:?}");
}

fn name(rotation: &Rotation<Number>) -> &'static str {
    match rotation.state {
        State::Alone => "alone",
        State::Opening => "opening",
        State::Overlapping { .. } => "overlapping",
    }
}
