//! What a store's answer means for the records that it was sent.

use std::time::Duration;

use jiff::fmt::rfc2822;

use crate::engine::Reply;
use crate::record::Time;

/// A store that asks for a longer pause is asked again after this.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is to be done with the records of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store has all of them.
    Stored,
    /// The store has all but so many, and does not say which. It must not be sent them again.
    Partly(u64),
    /// The same request has a chance later: not before the pause, where the store asks for one.
    Later(Option<Duration>),
    /// It was too much at once.
    Split,
    /// Some of them will never be taken.
    Bad(Bad),
    /// Nothing will be taken before a person has changed something. The reason is a label.
    Hold(&'static str),
}

/// Which records will never be taken. The reasons are labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// All that are older than this.
    Older(Time, &'static str),
    /// Those of one stream that are older than this.
    OlderInStream(Time, &'static str),
    /// Some. The store itself says so.
    Some(&'static str),
    /// Some, or the whole request: whoever answers does not say.
    Unclear,
}

/// What every store means by these statuses.
pub(super) fn of_status(status: u16, pause: Option<Duration>) -> Verdict {
    match status {
        401 => Verdict::Hold("unauthorized"),
        403 => Verdict::Hold("forbidden"),
        404 | 405 => Verdict::Hold("not_found"),
        300..=399 => Verdict::Hold("redirect"),
        413 => Verdict::Split,
        408 | 425 | 429 | 500.. => Verdict::Later(pause),
        _ => Verdict::Hold("unexpected"),
    }
}

/// The pause that an answer asks for.
pub(super) fn pause_of(reply: &Reply) -> Option<Duration> {
    let text = reply.retry_after.as_deref()?;
    pause(text, Time::now())
}

/// A `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn pause(retry_after: &str, now: Time) -> Option<Duration> {
    let text = retry_after.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let nanos = at.as_nanosecond() - i128::from(now.0);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
        }
    };
    Some(pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        // 2026-11-28T01:00:00Z
        let now = Time(1_795_827_600_000_000_000);
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sat, 28 Nov 2026 01:00:30 GMT", Some(30)),
            ("Sat, 28 Nov 2026 00:00:30 GMT", Some(0)),
            ("99999999", Some(3600)),
            ("Sun, 29 Nov 2026 01:00:30 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(pause(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
