//! The harness of the integration tests. The agent is a black box here: a
//! binary with a configuration, output files, an admin server and a process id.
//!
//! - [`requirements`]: what a test needs of the machine, and what is said where it is missing
//! - [`agent`]: the agent as a child process
//! - [`admin`]: its admin server
//! - [`metrics`]: the text format of its `/metrics`
//! - [`engine`]: a private engine, a few tests at a time
//! - [`control`]: what work costs at the moment, and what a process does
//! - [`witness`]: what `ss` and `/proc` say of its process
//! - [`writers`]: containers that write lines known in advance
//! - [`lines`]: the accountant: what was expected against what was captured
//! - [`ledger`]: the agent's account of its connections against the witness
//! - [`faults`]: peers that are no engine, or a bad one
//! - [`preload`]: C libraries in the running agent
//! - [`store`]: stand-ins for stores of logs, which misbehave when told to
//! - [`crowd`]: an engine with very many containers
//! - [`podman`]: another engine
//! - [`monitoring`]: a real Prometheus and a real Alertmanager
//! - [`rotel`]: a real OpenTelemetry collector
//! - [`proxy`]: a faulty one between the agent and its engine
//! - [`seed`]: random numbers that can be had again
//! - [`gate`]: a real engine behind a gate that misbehaves when told to
//! - [`shim`]: faults inside the running agent
//! - [`counts`]: how often it allocates, and how much it copies
//! - [`soak`]: all of it at once, for long: whether anything grows
//! - [`size`]: short forms and long ones
//! - [`wait`]: polling with a deadline

pub mod admin;
pub mod agent;
pub mod control;
pub mod counts;
pub mod crowd;
pub mod engine;
pub mod faults;
pub mod gate;
pub mod image;
pub mod ledger;
pub mod lines;
pub mod metrics;
pub mod monitoring;
pub mod podman;
pub mod preload;
pub mod proxy;
pub mod requirements;
pub mod rotel;
pub mod seed;
pub mod shim;
pub mod size;
pub mod soak;
pub mod store;
pub mod wait;
pub mod witness;
pub mod writers;
