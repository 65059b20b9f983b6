//! What can be wrong with where the engine is said to be.

/// An address, or a file that it needs, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}")]
pub struct EndpointError {
    /// Of the configuration, with dots.
    pub key: &'static str,
    /// What is wrong with that key's value, in words.
    pub message: String,
}

impl EndpointError {
    /// What is wrong with the value of a key.
    pub fn new(key: &'static str, message: String) -> Self {
        Self { key, message }
    }
}
