//! A file a promise. One binary, so that it is linked once.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]

mod account;
mod admin;
mod alerts;
mod bad_engines;
mod certificates;
mod configuration;
mod cuts;
mod dead_letters;
mod drivers;
mod engine_absent;
mod engine_restart;
mod faulty_engine;
mod fds;
mod file_limits;
mod files;
mod floor;
mod growth;
mod hostile_labels;
mod hostile_neighbours;
mod image;
mod labels;
mod leaks;
mod loki;
mod memory;
mod metrics;
mod multiline;
mod namespaces;
mod otlp;
mod podman;
mod record;
mod reload;
mod remote_engines;
mod repair;
mod restart;
mod rights;
mod rotating;
mod rotation;
mod scale;
mod short_lived;
mod shutdown;
mod silence;
mod sinks;
mod soak;
mod spool;
mod standard_output;
mod stores_by_tls;
