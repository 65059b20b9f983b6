//! How single values are written, where serde's own ways do not do.

use std::fmt;

use bytesize::ByteSize;
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer as _, Unexpected, Visitor};
use serde::ser::Serializer;

const ON: &str = "on";
const OFF: &str = "off";

/// A size as a number of bytes: as text it is rounded, and overrides go over the whole tree once
/// more.
pub(super) fn exactly<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(size.as_u64())
}

/// A size as one of something in memory.
pub fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

/// One of several words, of which some can be `on` and `off`. YAML 1.1 takes these two for `true`
/// and `false`, and what writes YAML 1.1 writes them so.
pub(super) fn word<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let Word(word) = deserializer.deserialize_any(AnyWord)?;
    let inner: StrDeserializer<'_, D::Error> = word.as_str().into_deserializer();
    T::deserialize(inner)
}

/// `true` and `false`, which can be written as `on` and `off`.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let Word(word) = deserializer.deserialize_any(AnyWord)?;
    match word.as_str() {
        ON => Ok(true),
        OFF => Ok(false),
        other => Err(D::Error::invalid_value(Unexpected::Str(other), &"on or off")),
    }
}

/// A word, with `on` and `off` for `true` and `false`.
struct Word(String);

struct AnyWord;

impl Visitor<'_> for AnyWord {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Word, E> {
        Ok(Word(if value { ON } else { OFF }.to_owned()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Word, E> {
        match value {
            "true" => self.visit_bool(true),
            "false" => self.visit_bool(false),
            word => Ok(Word(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Auto,
        On,
        Off,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Section {
        #[serde(deserialize_with = "word")]
        mode: Mode,
        #[serde(deserialize_with = "switch")]
        switch: bool,
    }

    #[test]
    fn on_and_off_are_true_and_false() {
        for (mode, expected) in [
            ("auto", Mode::Auto),
            ("on", Mode::On),
            ("true", Mode::On),
            ("'true'", Mode::On),
            ("off", Mode::Off),
            ("false", Mode::Off),
            ("'off'", Mode::Off),
        ] {
            for (switch, is_on) in [("on", true), ("true", true), ("off", false), ("'false'", false)] {
                let yaml = format!("mode: {mode}\nswitch: {switch}\n");
                let section: Section = serde_saphyr::from_str(&yaml).unwrap();
                let expected = Section {
                    mode: match expected {
                        Mode::Auto => Mode::Auto,
                        Mode::On => Mode::On,
                        Mode::Off => Mode::Off,
                    },
                    switch: is_on,
                };
                assert_eq!(section, expected, "{yaml}");
            }
        }
    }

    #[test]
    fn other_words_are_refused_with_their_line() {
        for (yaml, line, part) in [
            ("switch: on\nmode: onn\n", 2, "onn"),
            ("mode: auto\nswitch: perhaps\n", 2, "on or off"),
            ("mode: [on]\nswitch: on\n", 1, "a word"),
            ("mode: 1\nswitch: on\n", 1, "a word"),
        ] {
            let error = serde_saphyr::from_str::<Section>(yaml).unwrap_err();
            assert_eq!(error.location().map(|at| at.line()), Some(line), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
