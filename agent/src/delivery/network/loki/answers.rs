//! What Loki's answers mean. Pure.
//!
//! Its status alone does not say what was stored. 400 is of two kinds: the request cannot be read, and nothing is stored; or some
//! entries are refused, and the others are stored.

use std::time::Duration;

use super::super::verdict::{Bad, Verdict, of_status};
use crate::record::Time;

/// What Loki says of entries that it refuses, and the label for it.
const REFUSALS: [(&str, &str); 9] = [
    ("timestamp too new", "too_new"),
    ("max entry size", "too_large"),
    ("label names; limit", "labels"),
    ("label name too long", "labels"),
    ("label value too long", "labels"),
    ("duplicate label name", "labels"),
    ("structured metadata", "metadata"),
    ("out of order", "out_of_order"),
    ("entry too far behind", "too_far_behind"),
];

/// What an answer means. `after` is its `Retry-After`.
pub(super) fn verdict(status: u16, after: Option<Duration>, text: &str) -> Verdict {
    match status {
        200 | 204 => Verdict::Stored,
        400 => Verdict::Bad(bad(text)),
        // A 2xx that has stored nothing.
        260 => Verdict::Hold("blocked"),
        429 => too_many(text, after),
        other => of_status(other, after),
    }
}

fn bad(text: &str) -> Bad {
    let oldest = between(text, "oldest acceptable timestamp is: ", &[',', '\n', '\'', ' ']).and_then(time);
    match oldest {
        Some(oldest) if text.contains("timestamp too old") => return Bad::Older(oldest, "too_old"),
        Some(oldest) if text.contains("too far behind") => return Bad::OlderInStream(oldest, "too_far_behind"),
        _ => {}
    }
    if text.contains("timestamp too old") {
        return Bad::Some("too_old");
    }
    let known = REFUSALS.iter().find(|(said, _)| text.contains(said));
    known.map_or(Bad::Unclear, |(_, reason)| Bad::Some(reason))
}

/// 429 has three causes: the rate, of which a request can be larger than it ever allows, and the number of streams.
fn too_many(text: &str, after: Option<Duration>) -> Verdict {
    if text.contains("active stream limit") || text.contains("maximum active streams") {
        return Verdict::Hold("stream_limit");
    }
    let number = |from| between(text, from, &[' ', '\'']).and_then(|digits| digits.parse::<u64>().ok());
    match (number("(limit: "), number("totaling '")) {
        (Some(limit), Some(total)) if total > limit => Verdict::Split,
        _ => Verdict::Later(after),
    }
}

fn between<'a>(text: &'a str, from: &str, to: &[char]) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split(to).next()
}

fn time(text: &str) -> Option<Time> {
    let at: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "entry for stream '{container=\"web\"}' has timestamp too old: 2026-11-01T00:00:00Z, \
                       oldest acceptable timestamp is: 2026-11-21T01:00:00Z";
    const BEHIND: &str = "entry with timestamp 2026-11-28 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
                          timestamp is: 2026-11-28T00:00:00Z, oldest acceptable timestamp is: 2026-11-28T01:00:00Z',\nuser \
                          'fake', total ignored: 1 out of 1000 for stream: {container=\"web\"}";
    const RATE: &str = "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest '1000' \
                        lines totaling '1000000' bytes, reduce log volume or contact your Loki administrator";

    #[test]
    fn every_answer_has_its_verdict() {
        let pause = Some(Duration::from_secs(7));
        let at = |text: &str| time(text).unwrap();
        let burst = RATE.replace("4194304", "999999");
        for (status, after, text, expected) in [
            (204, None, "", Verdict::Stored),
            (200, None, "", Verdict::Stored),
            (260, None, "blocked until", Verdict::Hold("blocked")),
            (202, None, "", Verdict::Hold("unexpected")),
            (301, None, "", Verdict::Hold("redirect")),
            (307, None, "", Verdict::Hold("redirect")),
            (
                400,
                None,
                OLD,
                Verdict::Bad(Bad::Older(at("2026-11-21T01:00:00Z"), "too_old")),
            ),
            (
                400,
                None,
                BEHIND,
                Verdict::Bad(Bad::OlderInStream(at("2026-11-28T01:00:00Z"), "too_far_behind")),
            ),
            (
                400,
                None,
                "has timestamp too new: 2027",
                Verdict::Bad(Bad::Some("too_new")),
            ),
            (400, None, "has timestamp too old", Verdict::Bad(Bad::Some("too_old"))),
            (
                400,
                None,
                "max entry size '262144' bytes exceeded",
                Verdict::Bad(Bad::Some("too_large")),
            ),
            (
                400,
                None,
                "has 16 label names; limit 15",
                Verdict::Bad(Bad::Some("labels")),
            ),
            (
                400,
                None,
                "has label value too long: 'x'",
                Verdict::Bad(Bad::Some("labels")),
            ),
            (
                400,
                None,
                "has structured metadata too large",
                Verdict::Bad(Bad::Some("metadata")),
            ),
            (400, None, "snappy: corrupt input", Verdict::Bad(Bad::Unclear)),
            (
                400,
                None,
                "Client sent an HTTP request to an HTTPS server.",
                Verdict::Bad(Bad::Unclear),
            ),
            (401, None, "no org id", Verdict::Hold("unauthorized")),
            (403, None, "", Verdict::Hold("forbidden")),
            (404, None, "404 page not found", Verdict::Hold("not_found")),
            (407, None, "", Verdict::Hold("unexpected")),
            (413, None, "", Verdict::Split),
            (
                422,
                None,
                "error at least one label pair is required",
                Verdict::Hold("unexpected"),
            ),
            (429, None, RATE, Verdict::Later(None)),
            (429, pause, RATE, Verdict::Later(pause)),
            (429, pause, &burst, Verdict::Split),
            (
                429,
                None,
                "per-stream rate limit exceeded (limit: 3MB/sec)",
                Verdict::Later(None),
            ),
            (
                429,
                None,
                "Maximum active stream limit exceeded",
                Verdict::Hold("stream_limit"),
            ),
            (429, None, "", Verdict::Later(None)),
            (408, None, "", Verdict::Later(None)),
            (500, None, "", Verdict::Later(None)),
            (502, None, "", Verdict::Later(None)),
            (503, pause, "", Verdict::Later(pause)),
            (504, None, "", Verdict::Later(None)),
        ] {
            assert_eq!(verdict(status, after, text), expected, "{status} {text}");
        }
    }
}
