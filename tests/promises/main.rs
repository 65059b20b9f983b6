//! A file a promise. One binary, so that it is linked once.

mod bad_engines;
mod configuration;
mod cuts;
mod drivers;
mod engine_absent;
mod engine_restart;
mod fds;
mod floor;
mod growth;
mod hurt_engine;
mod labels;
mod leaks;
mod memory;
mod metrics;
mod multiline;
mod namespaces;
mod record;
mod repair;
mod restart;
mod rights;
mod rotation;
mod scale;
mod short_lived;
mod shutdown;
mod silence;
mod standard_output;
