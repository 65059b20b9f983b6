//! log-capturer: streams every container's log, and lets the kernel prove that no connection
//! leaks. The modules, in reading order:

/// What travels through the house: a container, a stream, a line.
pub mod record;

/// One typed tree of settings, checked once.
pub mod config;

/// What the agent believes that it holds, by socket inode.
pub mod register;

/// Whether each part can do its work.
pub mod readiness;

/// Files and folders that are opened by a path from the configuration.
pub mod trusted;

/// The folder for what must outlive the agent.
pub mod state;

/// How many files may be open.
pub mod open_files;

mod memory;

/// How every metric is made.
pub mod metrics;

/// Which agent this is.
pub mod version;

/// Where text must be escaped in JSON.
pub mod escape;

/// Bytes that an engine sent or its log driver wrote, to lines.
pub mod decode;

/// From a line to the bytes that a sink gets.
pub mod encode;

/// The Docker Engine API client.
pub mod engine;

/// How often the runtime's thread looks at its sockets.
pub mod pace;

/// Where a container's lines come from.
pub mod source;

/// From lines to the sinks.
pub mod delivery;

/// From a container to its records.
pub mod capture;

/// What the kernel holds for the agent, whatever the agent believes.
pub mod kernel;

/// What is made of what the kernel holds and the agent believes: leaks, growth, conservation.
pub mod audit;

/// What the agent tells about itself.
pub mod admin;

/// Builds everything, wires it, and ends it in order.
pub mod app;

/// The command line.
pub mod cli;
