//! The time that the engine puts before each message: RFC 3339 with nine digits, then a space.

use crate::record::Time;

/// `2026-11-20T15:04:58.662848374Z`.
const ENGINE_FORM: usize = 30;
/// Up to and with the seconds.
const SECONDS: usize = 19;
/// No RFC 3339 time with nine digits and a numeric offset is longer.
pub const LONGEST: usize = 35;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Parses times. Keeps the last second that it met: a busy stream has thousands of lines in
/// one, and only the nanoseconds are worth parsing again.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    prefix: [u8; SECONDS],
    seconds: i64,
}

impl Clock {
    /// Splits a message into its time and what follows the space. `None` when it has no time.
    pub fn split<'a>(&mut self, message: &'a [u8]) -> Option<(Time, &'a [u8])> {
        // Nearly always the engine's own form.
        if message.get(ENGINE_FORM) == Some(&b' ')
            && let Some(time) = self.parse(&message[..ENGINE_FORM])
        {
            return Some((time, &message[ENGINE_FORM + 1..]));
        }
        // Podman leaves out zeros at the end, and can write a numeric offset.
        let head = &message[..message.len().min(LONGEST + 1)];
        let (stamp, rest) = message.split_at(memchr::memchr(b' ', head)?);
        Some((self.parse(stamp)?, &rest[1..]))
    }

    /// Parses one time.
    pub fn parse(&mut self, stamp: &[u8]) -> Option<Time> {
        if stamp.len() == ENGINE_FORM && stamp[..SECONDS] == self.prefix {
            let whole = self.seconds.saturating_mul(NANOS_PER_SECOND);
            return Some(Time(whole.saturating_add(nanos(stamp)?)));
        }
        let text = std::str::from_utf8(stamp).ok()?;
        // jiff takes many forms that are no time of the engine's; ours begin with a full date, and have no space.
        if !text.as_bytes().first()?.is_ascii_digit() || text.contains(' ') {
            return None;
        }
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        // A time that nanoseconds cannot tell is still one: nothing behind it shall be lost for it.
        let nanoseconds = timestamp.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
        let time = Time(nanoseconds as i64);
        let exact = i128::from(time.0) == timestamp.as_nanosecond();
        if exact && stamp.len() == ENGINE_FORM && nanos(stamp).is_some() {
            self.prefix.copy_from_slice(&stamp[..SECONDS]);
            self.seconds = time.0.div_euclid(NANOS_PER_SECOND);
        }
        Some(time)
    }
}

/// The nanoseconds of a time in the engine's form.
fn nanos(stamp: &[u8]) -> Option<i64> {
    let [b'.', digits @ .., b'Z'] = &stamp[SECONDS..] else {
        return None;
    };
    digits.iter().try_fold(0_i64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Finds, in the raw text of a TTY, the next time in the engine's form, followed by a space:
/// the place of its first byte, and the time.
pub fn find(clock: &mut Clock, text: &[u8]) -> Option<(usize, Time)> {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'Z', &text[from..]) {
        let end = from + found + 1;
        from = end;
        if end < ENGINE_FORM || text.get(end) != Some(&b' ') || text[end - 11] != b'.' {
            continue;
        }
        if let Some(time) = clock.parse(&text[end - ENGINE_FORM..end]) {
            return Some((end - ENGINE_FORM, time));
        }
    }
    None
}

/// Bytes that a time of the engine's form takes, with its space.
pub const PREFIX: usize = ENGINE_FORM + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_the_engines_form() {
        let mut clock = Clock::default();
        for _ in 0..2 {
            let (time, rest) = clock.split(b"2026-11-20T15:04:58.662848374Z hello world\n").unwrap();
            assert_eq!(time, Time(1_795_187_098_662_848_374));
            assert_eq!(rest, b"hello world\n");
        }
        let (time, _) = clock.split(b"2026-11-20T15:04:58.000000001Z ").unwrap();
        assert_eq!(time, Time(1_795_187_098_000_000_001));
        let (time, _) = clock.split(b"2026-11-20T15:04:59.000000001Z ").unwrap();
        assert_eq!(time, Time(1_795_187_099_000_000_001));
    }

    #[test]
    fn splits_a_numeric_offset() {
        let (time, rest) = Clock::default()
            .split(b"2026-11-20T17:04:58.662848374+02:00 x")
            .unwrap();
        assert_eq!(time, Time(1_795_187_098_662_848_374));
        assert_eq!(rest, b"x");
    }

    #[test]
    fn a_short_time_ends_at_the_first_space() {
        for (stamp, text) in [
            ("2026-11-20T15:04:58Z", "nine_char acters"),
            ("2026-11-20T15:04:58.5Z", "message of seven"),
        ] {
            let message = format!("{stamp} {text}");
            assert_eq!(message.as_bytes()[ENGINE_FORM], b' ');
            let (time, rest) = Clock::default().split(message.as_bytes()).unwrap();
            assert_eq!(time.0 / NANOS_PER_SECOND, 1_795_187_098);
            assert_eq!(rest, text.as_bytes());
        }
    }

    #[test]
    fn any_year_is_a_time() {
        for (stamp, time) in [
            (&b"0001-01-01T00:00:00.000000000Z x"[..], i64::MIN),
            (b"9999-12-30T20:59:59.999999999Z x", i64::MAX),
        ] {
            let mut clock = Clock::default();
            for _ in 0..2 {
                assert_eq!(clock.split(stamp), Some((Time(time), &b"x"[..])));
            }
        }
    }

    #[test]
    fn no_time_is_none() {
        for message in [
            &b""[..],
            b"hello world",
            b"2026-11-20T15:04:58.66284837xZ hello",
            b"2026-11-20T15:04:58.662848374Z",
        ] {
            assert_eq!(Clock::default().split(message), None, "{message:?}");
        }
    }

    #[test]
    fn finds_a_time_in_text() {
        let text = b"Zebra 1Z 2026-11-20T15:04:58.662848374Z tail";
        let (at, time) = find(&mut Clock::default(), text).unwrap();
        assert_eq!(at, 9);
        assert_eq!(time, Time(1_795_187_098_662_848_374));
        assert_eq!(find(&mut Clock::default(), &text[..39]), None);
    }
}
