//! The time that the engine puts before each message: RFC 3339 with nine digits, then a space.

use crate::record::Time;

/// `2026-11-20T15:04:58.662848374Z`.
const ENGINE_FORM: usize = 30;
/// Up to and with the seconds.
const SECONDS: usize = 19;
/// No RFC 3339 time with nine digits and a numeric offset is longer.
pub(super) const LONGEST: usize = 35;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Parses times. Keeps the last second that it met: a busy stream has thousands of lines in one, and only the nanoseconds
/// are worth parsing again.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    prefix: [u8; SECONDS],
    zone: Zone,
    seconds: i64,
}

/// `Z`, or an offset as `+02:00`; NULs behind it.
type Zone = [u8; 6];

impl Clock {
    /// Splits a message into its time and what follows the space. `None` when it has no time.
    pub(super) fn split<'a>(&mut self, message: &'a [u8]) -> Option<(Time, &'a [u8])> {
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
    pub(super) fn parse(&mut self, stamp: &[u8]) -> Option<Time> {
        let (prefix, rest) = stamp.split_first_chunk()?;
        let behind = fraction(rest);
        if let Some((nanos, zone)) = behind
            && (*prefix, zone) == (self.prefix, self.zone)
        {
            let whole = self.seconds.saturating_mul(NANOS_PER_SECOND);
            return Some(Time(whole.saturating_add(nanos)));
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
        if let Some((nanos, zone)) = behind
            && exact
            && time.0.rem_euclid(NANOS_PER_SECOND) == nanos
        {
            self.prefix = *prefix;
            self.zone = zone;
            self.seconds = time.0.div_euclid(NANOS_PER_SECOND);
        }
        Some(time)
    }
}

/// The nanoseconds and the zone, from what stands behind the seconds. Zeros at the end of a fraction may be left out.
fn fraction(rest: &[u8]) -> Option<(i64, Zone)> {
    let (nanos, text) = match rest {
        [b'.', rest @ ..] => match nine_digits(rest) {
            Some(nanos) => (nanos, &rest[9..]),
            None => some_digits(rest)?,
        },
        _ => (0, rest),
    };
    let mut zone = Zone::default();
    zone.get_mut(..text.len())?.copy_from_slice(text);
    (zone[0] != 0).then_some((nanos, zone))
}

/// Nanoseconds with all their digits. The first eight are taken together: each step puts neighbours together, first
/// digits to pairs, then pairs to fours, then these.
fn nine_digits(text: &[u8]) -> Option<i64> {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let (eight, rest) = text.split_first_chunk()?;
    let digits = u64::from_le_bytes(*eight).wrapping_sub(EACH * u64::from(b'0'));
    let ninth = rest.first()?.wrapping_sub(b'0');
    // What is no digit is above 9: it has one of the upper four bits, or gets one with 6 more.
    if (digits | digits.wrapping_add(EACH * 6)) & (EACH * 0xf0) != 0 || ninth > 9 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    Some(all as i64 * 10 + i64::from(ninth))
}

/// Nanoseconds whose last zeros are left out, and what stands behind them.
fn some_digits(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let missing = 9_u32.checked_sub(u32::try_from(length).ok()?)?;
    let (digits, rest) = text.split_at(length);
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    (length > 0).then_some((value * 10_i64.pow(missing), rest))
}

/// Finds, in the raw text of a TTY, the next time in the engine's form, followed by a space:
/// the place of its first byte, and the time.
pub(super) fn find(clock: &mut Clock, text: &[u8]) -> Option<(usize, Time)> {
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
pub(super) const PREFIX: usize = ENGINE_FORM + 1;

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
    fn a_second_that_was_met_gives_what_a_new_one_does() {
        let fractions = [
            "",
            ".0",
            ".5",
            ".05",
            ".12345678",
            ".123456789",
            ".000000001",
            ".999999999",
        ];
        let others = [
            ".1234567891",
            ".",
            ".x",
            ".12x",
            ".1234567x9",
            ".12345678x",
            ".123456789x",
            ".-1",
            ",5",
        ];
        let zones = ["Z", "+02:00", "-11:30", "+00:00", "", "z", "ZZ", "\0", "+02:00:0"];
        for fraction in fractions.iter().chain(&others) {
            for zone in zones {
                for met in ["Z", "+02:00", "-11:30"] {
                    let stamp = format!("2026-11-20T15:04:58{fraction}{zone}");
                    let mut clock = Clock::default();
                    clock.parse(format!("2026-11-20T15:04:58.7{met}").as_bytes());
                    let wanted = Clock::default().parse(stamp.as_bytes());
                    assert_eq!(clock.parse(stamp.as_bytes()), wanted, "{stamp:?} after {met}");
                    let is_time = !others.contains(fraction) && zones[..4].contains(&zone);
                    assert!(wanted.is_some() || !is_time, "{stamp:?}");
                }
            }
        }
        assert_eq!(Clock::default().parse(&[0; 19]), None);
        assert_eq!(Clock::default().parse(&[0; 25]), None);
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
