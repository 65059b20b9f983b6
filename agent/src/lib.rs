//! log-capturer: streams container logs, and lets the kernel prove that nothing leaks.
pub mod capture;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod kernel;
pub mod metrics;
pub mod pace;
pub mod readiness;
pub mod record;
pub mod register;
pub mod sink;
