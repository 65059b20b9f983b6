//! Others that trace the same host.
//!
//! The first program at any system call's tracepoint costs every system call on the host (`syscall_regfunc` sets
//! SYSCALL_TRACEPOINT for all tasks); the next one costs the traced calls only. So a round that another tracer took
//! part in shows less than what is true of a host without one.

use std::{collections::BTreeSet, fs};

use aya::programs::loaded_programs;

/// `BPF_PROG_TYPE_TRACEPOINT` and `BPF_PROG_TYPE_RAW_TRACEPOINT`.
const TRACING: [u32; 2] = [5, 17];

/// Whether other processes have programs for tracepoints. Without CAP_SYS_ADMIN none is seen.
pub fn is_there() -> bool {
    let own = own();
    loaded_programs()
        // One may be gone between being found and being asked about.
        .flatten()
        .any(|program| TRACING.contains(&(program.program_type() as u32)) && !own.contains(&program.id()))
}

fn own() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc/self/fdinfo").expect("/proc is mounted");
    let id = |info: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix("prog_id:"))?
            .trim()
            .parse()
            .ok()
    };
    entries
        .filter_map(|entry| id(&fs::read_to_string(entry.ok()?.path()).ok()?))
        .collect()
}
