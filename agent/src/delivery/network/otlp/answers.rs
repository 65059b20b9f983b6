//! What a collector's answers mean. Pure.
//!
//! ```text
//! 200: ExportLogsServiceResponse { partial_success = 1: { rejected_log_records = 1, error_message = 2 } }
//! otherwise: Status { code = 1, message = 2 }
//! ```
//!
//! The protocol has 429, 502, 503 and 504 for what may be sent again. Whatever else is above 500 is sent again as well: a
//! collector that has failed has taken nothing, and it holds up nobody but itself.

use std::borrow::Cow;
use std::time::Duration;

use super::super::verdict::{Bad, Verdict, of_status};
use crate::decode::{Value, field};

/// What an answer means. `after` is its `Retry-After`.
pub(super) fn verdict(status: u16, after: Option<Duration>, body: &[u8]) -> Verdict {
    match status {
        200 | 202 | 204 => match rejected(body) {
            0 => Verdict::Stored,
            rejected => Verdict::Partly(rejected),
        },
        // It does not say whether it means the whole request or some records.
        400 | 422 => Verdict::Bad(Bad::Unclear),
        other => of_status(other, after),
    }
}

/// The words in an answer. Whoever is no collector answers with a text.
pub(super) fn words(status: u16, body: &[u8]) -> Cow<'_, str> {
    let message = if status < 300 {
        content(body, 1).and_then(|partial| content(partial, 2))
    } else {
        content(body, 2)
    };
    let message = message.and_then(|message| std::str::from_utf8(message).ok());
    message.map_or_else(|| String::from_utf8_lossy(body), Cow::Borrowed)
}

fn rejected(body: &[u8]) -> u64 {
    let partial = content(body, 1).unwrap_or_default();
    let number = fields(partial).find_map(|(number, value)| match value {
        Value::Integer(rejected) if number == 1 => Some(rejected),
        _ => None,
    });
    // A negative number would be one above `i64::MAX`.
    number.filter(|&rejected| i64::try_from(rejected).is_ok()).unwrap_or(0)
}

fn content(message: &[u8], wanted: u64) -> Option<&[u8]> {
    fields(message).find_map(|(number, value)| match value {
        Value::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// As far as it is a message.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || field(&mut message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 rejected, "too old".
    const PARTIAL: &[u8] = b"\x0a\x0b\x08\x03\x12\x07too old";

    #[test]
    fn every_answer_has_its_verdict() {
        let pause = Some(Duration::from_secs(7));
        for (status, after, body, expected) in [
            (200, None, &b""[..], Verdict::Stored),
            // A warning: all are stored.
            (200, None, b"\x0a\x06\x12\x04slow", Verdict::Stored),
            (200, None, PARTIAL, Verdict::Partly(3)),
            (
                200,
                None,
                b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                Verdict::Stored,
            ),
            (200, None, b"OK", Verdict::Stored),
            (204, None, b"", Verdict::Stored),
            (400, None, b"\x12\x03bad", Verdict::Bad(Bad::Unclear)),
            (422, None, b"", Verdict::Bad(Bad::Unclear)),
            (401, None, b"", Verdict::Hold("unauthorized")),
            (403, None, b"", Verdict::Hold("forbidden")),
            (404, None, b"404 page not found", Verdict::Hold("not_found")),
            (308, None, b"", Verdict::Hold("redirect")),
            (415, None, b"", Verdict::Hold("unexpected")),
            (260, None, b"", Verdict::Hold("unexpected")),
            (413, None, b"", Verdict::Split),
            (429, pause, b"", Verdict::Later(pause)),
            (500, None, b"", Verdict::Later(None)),
            (502, None, b"", Verdict::Later(None)),
            (503, pause, b"", Verdict::Later(pause)),
            (504, None, b"", Verdict::Later(None)),
        ] {
            assert_eq!(verdict(status, after, body), expected, "{status} {body:?}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_message_or_the_text_that_is_none() {
        assert_eq!(words(200, PARTIAL), "too old");
        assert_eq!(words(400, b"\x08\x03\x12\x03bad"), "bad");
        for text in ["404 page not found", "", "upstream connect error", "<html>"] {
            assert_eq!(words(404, text.as_bytes()), text);
        }
    }
}
