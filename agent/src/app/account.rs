//! The account of every line: what capture has read beside what the sinks have made of it.

use crate::admin::{AccountPage, ContainerRow, Places, SinkRow};
use crate::capture::{Positions, Tally};
use crate::delivery::{Counts, Outbox, SinkAccount};
use crate::record::ContainerId;

/// All of it, as of one moment.
pub(super) fn account(positions: &Positions, outbox: &Outbox) -> AccountPage {
    let ((mut there, gone), sinks) = (positions.all(), outbox.accounts());
    there.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    let there = there.iter().map(|(id, tally)| row(Some(id), tally, false, &sinks));
    let removed = gone.listed().map(|(id, tally)| row(Some(id), tally, true, &sinks));
    let mut containers: Vec<ContainerRow> = there.chain(removed).collect();
    let others = row(None, gone.others(), true, &sinks);
    if others.read > 0 || others.sinks.iter().any(is_telling) {
        containers.push(others);
    }
    let sinks = sinks.into_iter().map(|sink| SinkRow {
        sink: sink.sink,
        drift: sink.drift,
        is_right: sink.is_right,
    });
    AccountPage::new(sinks.collect(), containers)
}

fn is_telling(places: &Places) -> bool {
    places.difference != 0 || places.delivered + places.dropped + places.dead + places.spooled + places.earlier > 0
}

fn row(id: Option<&ContainerId>, tally: &Tally, removed: bool, sinks: &[SinkAccount]) -> ContainerRow {
    let counts = |sink: &SinkAccount| match id {
        Some(id) => sink.account.of(id),
        None => sink.account.others(),
    };
    ContainerRow {
        container: (!tally.name.is_empty()).then(|| tally.name.to_string()),
        id: id.map(ToString::to_string),
        removed,
        read: tally.taken + tally.known,
        deduplicated: tally.known,
        held: tally.held,
        gaps: tally.gaps,
        last_gap: tally.last_gap.map(crate::record::Time::as_seconds),
        sinks: sinks
            .iter()
            .map(|sink| places(&sink.sink, tally, counts(sink)))
            .collect(),
    }
}

fn places(sink: &str, tally: &Tally, counts: Counts) -> Places {
    Places {
        sink: sink.to_owned(),
        delivered: counts.delivered,
        dropped: counts.dropped + tally.dropped,
        dead: counts.dead,
        spooled: counts.spooled.max(0).cast_unsigned(),
        waiting: counts.waiting + tally.held.cast_signed(),
        before: counts.before,
        earlier: counts.spooled.min(0).unsigned_abs(),
        difference: tally.handed_on().cast_signed() - counts.sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_at_a_sink_shows_and_what_it_has_from_before_does_not() {
        let tally = Tally {
            taken: 10,
            known: 4,
            dropped: 1,
            held: 2,
            ..Tally::default()
        };
        let counts = Counts {
            delivered: 5,
            spooled: -3,
            waiting: 4,
            ..Counts::default()
        };
        let row = places("main", &tally, counts);
        assert_eq!((row.dropped, row.spooled, row.earlier, row.waiting), (1, 0, 3, 6));
        assert_eq!(row.difference, 1);
        let right = (row.delivered + tally.known + row.dropped).cast_signed() + row.waiting;
        let read = (tally.taken + tally.known + row.earlier).cast_signed();
        assert_eq!(read, right + row.difference);
    }
}
