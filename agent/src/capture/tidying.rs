//! What is told of removed containers is bounded.

use super::positions::Positions;
use crate::delivery::Outbox;

/// So many are told of by name, and more as long as lines of theirs wait or are spooled.
const LISTED: usize = 1_000;
/// But never more than this.
const MOST: usize = 10_000;

/// Holds what is told of removed containers to its bounds, here and in the sinks' accounts.
pub fn tidy(positions: &Positions, outbox: &Outbox) {
    loop {
        let merged = match positions.gone_len() {
            listed if listed > MOST => positions.merge_gone(|id| !outbox.is_gathering(id)),
            listed if listed > LISTED => positions.merge_gone(|id| !outbox.has_open(id)),
            _ => None,
        };
        let Some(id) = merged else { return };
        outbox.merge(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;
    use crate::delivery::{Bounds, Intake, Order};
    use crate::encode::{Fields, Tail};
    use crate::record::{Container, ContainerId, Line, Stream, Time};

    fn remove(positions: &Positions, outbox: &Outbox, number: usize) {
        let tally = Tally {
            taken: 1,
            ..Tally::default()
        };
        positions.forget(&ContainerId::new(&number.to_string()), &tally);
        tidy(positions, outbox);
    }

    fn write(outbox: &Outbox, number: usize) {
        let container = Container {
            id: ContainerId::new(&number.to_string()),
            name: String::new(),
            image: String::new(),
            labels: Default::default(),
        };
        let tail = Tail::new(&std::sync::Arc::new(container), "", &Fields::new(&[], &[]).unwrap());
        let line = Line {
            time: Time(0),
            stream: Stream::Stdout,
            bytes: b"",
            truncated: false,
            escaped: None,
        };
        outbox.push(&line, &tail);
    }

    /// Takes a batch, and acknowledges it only if it is told to.
    async fn take(intake: &mut Intake, all: bool) {
        let Some(Order::Batch(batch)) = intake.next().await else {
            panic!("no batch")
        };
        if all {
            let numbers = 0..batch.records().len();
            intake.settled(batch.records(), numbers, crate::delivery::Outcome::Delivered);
            intake.acknowledge(batch);
        }
    }

    #[tokio::test]
    async fn removed_containers_are_told_of_together_after_a_while_unless_lines_of_theirs_wait() {
        let bounds = Bounds {
            batch_bytes: 1,
            max_batches: 8,
            flush_interval: std::time::Duration::from_secs(1),
        };
        let (outbox, mut intakes) = Outbox::new(bounds, ["main".to_owned()]);
        let positions = Positions::default();
        write(&outbox, 0);
        take(&mut intakes[0], true).await;
        write(&outbox, 1);
        take(&mut intakes[0], false).await;
        for number in 0..LISTED + 10 {
            remove(&positions, &outbox, number);
        }
        let (_, gone) = positions.all();
        let listed: Vec<_> = gone.listed().map(|(id, _)| id.as_str().to_owned()).collect();
        assert_eq!((listed.len(), &*listed[0], &*listed[1]), (LISTED, "1", "11"));
        assert_eq!(gone.others().taken, 10);
        let account = &outbox.accounts()[0].account;
        assert_eq!(
            (account.others().delivered, account.of(&ContainerId::new("1")).waiting),
            (1, 1)
        );
    }

    #[test]
    fn one_that_comes_back_is_told_of_as_before() {
        let positions = Positions::default();
        let id = ContainerId::new("web");
        let tally = Tally {
            taken: 3,
            ..Tally::default()
        };
        positions.forget(&id, &tally);
        assert_eq!(positions.gone_len(), 1);
        let position = positions.of(&id, "web");
        assert_eq!((position.tally.taken, &*position.tally.name), (3, "web"));
        positions.publish(&id, &position, std::iter::empty());
        assert_eq!(positions.gone_len(), 0);
    }
}
