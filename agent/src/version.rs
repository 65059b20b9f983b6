//! Which agent this is. `build.rs` finds the revision out.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; `unknown` in a debug build, or where there was no repository.
pub const REVISION: &str = env!("LOG_CAPTURER_REVISION");
/// Both, as `--version` prints them.
pub const FULL: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LOG_CAPTURER_REVISION"), ")");
