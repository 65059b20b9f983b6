//! Every check on random bytes: what `cargo xtask fuzz` searches, `cargo test` samples.

use fastrand::Rng;

/// Bytes of which some are equal, zero, or what the formats are made of.
fn bytes(random: &mut Rng, most: usize) -> Vec<u8> {
    let most = if random.bool() { 60 } else { most };
    let length = random.usize(..most);
    let alphabet: &[u8] = match random.u8(..3) {
        0 => &[],
        1 => b"\x00\x01\x02\x03\x08\n x",
        _ => b"\r\n0a;:*?- 2026-11-20T15:04:58.000000001Z ",
    };
    let byte = |_| {
        let of_alphabet = random.choice(alphabet.iter().copied());
        let any = random.u8(..);
        of_alphabet.filter(|_| any > 30).unwrap_or(any)
    };
    (0..length).map(byte).collect()
}

fn sample(cases: u64, most: usize, check: fn(&[u8])) {
    let first = match std::env::var("LOG_CAPTURER_SEED") {
        Ok(asked) => asked.parse().expect("LOG_CAPTURER_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("LOG_CAPTURER_SEED={first}");
    for number in 0..cases {
        let mut random = Rng::with_seed(first.wrapping_add(number));
        check(&bytes(&mut random, most));
    }
}

#[test]
fn chunked() {
    sample(20_000, 3_000, fuzz::chunked::check);
}

#[test]
fn frames() {
    sample(20_000, 3_000, fuzz::frames::check);
}

#[test]
fn lines() {
    sample(5_000, 3_000, fuzz::lines::check);
}

#[test]
fn json_file() {
    sample(1_000, 3_000, fuzz::json_file::check);
}

#[test]
fn local() {
    sample(1_000, 3_000, fuzz::local::check);
}

#[test]
fn k8s_file() {
    sample(1_000, 3_000, fuzz::k8s_file::check);
}

#[test]
fn resume() {
    sample(300, 300, fuzz::resume::check);
}

#[test]
fn patterns() {
    sample(5_000, 3_000, fuzz::patterns::check);
}
