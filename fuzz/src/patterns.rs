//! The patterns of the configuration.

use log_capturer::config::pattern;

/// The first line is a pattern, the rest a text.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (glob, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(glob) = str::from_utf8(glob) else { return };
    let compiled = pattern(glob);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*?-_./ ".contains(&byte);
    if glob.bytes().all(is_plain) && !glob.contains("**") {
        let matches = compiled.expect("a plain glob is a pattern").is_match(text);
        assert_eq!(matches, model(glob.as_bytes(), text), "{glob:?} of {text:?}");
    } else if let Ok(compiled) = compiled {
        compiled.is_match(text);
    }
}

fn model(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => model(rest, tail),
        ([wanted, rest @ ..], [byte, tail @ ..]) => wanted == byte && model(rest, tail),
        _ => false,
    }
}
