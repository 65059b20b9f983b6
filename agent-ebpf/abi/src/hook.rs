//! The programs that are attached, by tier. Each counts how often it has run for the agent's process: a hook is in force only
//! when it was seen to fire.

/// Tier fentry, but for those of which a kernel may lack the function.
pub const FUNCTIONS: [&str; 16] = [
    "fexit_install",
    "fexit_connect",
    "fexit_close",
    "fexit_close_range",
    "fexit_dup",
    "fexit_dup2",
    "fexit_dup3",
    "fexit_fcntl",
    "fexit_shutdown",
    "fentry_shutdown",
    "fentry_close",
    "fentry_close_range",
    "fentry_dup",
    "fentry_dup2",
    "fentry_dup3",
    "fentry_fcntl",
];

/// Tier tracepoint.
pub const TRACEPOINTS: [&str; 16] = [
    "exit_connect",
    "exit_close",
    "exit_close_range",
    "exit_dup",
    "exit_shutdown",
    "exit_pair",
    "exit_birth",
    "enter_shutdown",
    "enter_close",
    "enter_close_range",
    "enter_dup",
    "enter_dup2",
    "enter_fcntl",
    "enter_connect",
    "enter_pipe",
    "enter_socketpair",
];

/// `FIRED` has a counter for each program of a tier.
pub const HOOKS: u32 = FUNCTIONS.len() as u32;

const _: () = assert!(FUNCTIONS.len() == TRACEPOINTS.len());

/// The index of a program's counter.
pub const fn hook(name: &str) -> u32 {
    let mut index = 0;
    while index < FUNCTIONS.len() {
        if same(FUNCTIONS[index], name) || same(TRACEPOINTS[index], name) {
            return index as u32;
        }
        index += 1;
    }
    panic!("no such program")
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}
