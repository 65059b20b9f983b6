//! The agent as a program: all of it is in the library.

fn main() -> std::process::ExitCode {
    log_capturer::cli::main()
}
