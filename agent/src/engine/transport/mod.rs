//! A connection to the engine, or to a store, and nothing of what is said over it.
//!
//! | file | what is in it |
//! |---|---|
//! | `endpoint` | where the engine is, and how it is reached: unix, TCP, TLS |
//! | `resolve`, `tls` | its host's addresses; certificates, and what is wrong with them |
//! | `link` | a connected descriptor, in the register while it is open |
//! | `socket` | one with a link or a TLS session in it: what hyper and the decoder read from |
//! | `error` | what can go wrong with one |
//! | `connection` | HTTP/1.1 over it; one owner, no task behind it |

mod connection;
mod endpoint;
mod error;
mod link;
mod resolve;
mod socket;
mod tls;

pub(super) use connection::{Answer, Connection, Head, RawBody, StreamBody, Streamed};
pub use connection::{Limits, Opener};
pub use endpoint::Endpoint;
pub use error::{EndpointError, TransportError};
pub(super) use socket::Socket;
pub use tls::Tls;
