//! Random numbers of which a failure can be had again.

/// From `LOG_CAPTURER_SEED`, else from the clock; printed, so that a test that failed tells it.
pub fn seed() -> u64 {
    let seed = match std::env::var("LOG_CAPTURER_SEED") {
        Ok(asked) => asked
            .parse()
            .unwrap_or_else(|error| panic!("LOG_CAPTURER_SEED={asked}: {error}")),
        Err(_) => fastrand::u64(..),
    };
    println!("LOG_CAPTURER_SEED={seed}");
    seed
}
