//! Records that a store will never take: kept with the reason, until somebody has them sent again or throws them away.
//!
//! | file | what is in it |
//! |---|---|
//! | `letter` | one record, and why it was refused: a line of JSON behind a checksum |
//! | `files` | the files that letters are in |
//! | `letters` | what the sinks and the commands share of that |

mod files;
mod letter;
mod letters;

pub use files::Held;
pub use letter::Letter;
pub use letters::{DeadLetters, Replay, Replayed};
