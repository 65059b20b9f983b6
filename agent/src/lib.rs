//! log-capturer: streams container logs, and lets the kernel prove that nothing leaks.
