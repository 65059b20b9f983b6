//! Messages go to standard error: in `run`, standard output belongs to the captured lines.

use std::io::IsTerminal;

pub fn step(message: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[1mxtask:\x1b[0m {message}");
    } else {
        eprintln!("xtask: {message}");
    }
}
