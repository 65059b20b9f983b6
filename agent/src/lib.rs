//! log-capturer: streams container logs, and lets the kernel prove that nothing leaks.
pub mod record;
pub mod register;
pub mod engine;
