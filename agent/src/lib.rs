//! log-capturer: streams container logs, and lets the kernel prove that nothing leaks.
pub mod config;
pub mod engine;
pub mod record;
pub mod register;
