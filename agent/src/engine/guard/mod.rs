//! Whether the engine is asked, how often, and when again.
//!
//! | file | what is in it |
//! |---|---|
//! | `breaker` | an engine that serves nobody is left alone |
//! | `rate` | one that has come back is not overrun |
//! | `retry` | growing, random delays |
//! | `refusal` | why a request was not sent |
//! | `health` | how well the engine is, weighed from several signs |

mod breaker;
mod health;
mod rate;
mod refusal;
mod retry;

pub use breaker::Thresholds;
pub(super) use breaker::{Breaker, Call, Outcome};
pub(super) use health::Health;
pub use health::{Signs, Verdict};
pub use rate::Rate;
pub(super) use rate::{Queue, RateLimit};
pub use refusal::Refusal;
pub use retry::{Delays, Retry};
