//! Gives memory back that was wanted for a moment: the start's above all, which reads the kernel's types and loads programs.

#![expect(
    unsafe_code,
    reason = "memory is given back by calls of the C library and the kernel that are unsafe"
)]

use std::fs;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use tokio::time::sleep;

/// By then the streams that there are at the start are open.
const STARTED: Duration = Duration::from_secs(2);
/// What a crowd of connections took once is free for others again within this, and so is what runs once in a while.
const INTERVAL: Duration = Duration::from_secs(20);

/// After the start, and now and then.
pub(crate) async fn tend() {
    sleep(STARTED).await;
    loop {
        give_back();
        sleep(INTERVAL).await;
    }
}

/// Free pages of the heap, wherever in it they lie, and the program's own: the code that has been run and the constants that have
/// been read. What is wanted again comes back from the page cache, without a read.
pub(crate) fn give_back() {
    trim();
    for (begin, len) in unchanged(&fs::read_to_string("/proc/self/smaps").unwrap_or_default()) {
        // SAFETY: a private mapping of a file, and no page of it is another than the file's: each reads the same when it is
        // mapped anew.
        let _ = unsafe { madvise(begin as *mut _, len, Advice::LinuxDontNeed) };
    }
}

/// Lets all threads share one heap. The C library would make one for each that waits for a disk, and what was freed in one is
/// no room for another.
pub(crate) fn share_heap() {
    // SAFETY: has no preconditions. It fails for no value above 0.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Free pages of the heap.
pub(crate) fn trim() {
    // SAFETY: has no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Where the mappings of files that nobody writes to begin, and their lengths, by `/proc/PID/smaps` (proc_pid_smaps(5)). One with
/// pages of its own is left out: addresses were put there at the start, or a probe (uprobes), or other code.
fn unchanged(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(own) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| own.trim() == "0 kB"));
        } else if let Some(mapping) = read_only_file(line) {
            candidate = Some(mapping);
        }
    }
    found
}

/// The address and length of a read-only file, from a mapping's first line.
fn read_only_file(mapping: &str) -> Option<(usize, usize)> {
    let mut words = mapping.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let is_read_only = matches!(words.next()?, "r-xp" | "r--p");
    let is_file = words.nth(3)?.starts_with('/');
    let [begin, end] = [begin, end].map(|address| usize::from_str_radix(address, 16).ok());
    (is_read_only && is_file).then_some((begin?, end? - begin?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_still_as_in_its_file_is_given_back() {
        let code = "7f10c0000000-7f10c0003000 r-xp 00001000 fe:00 42   /usr/bin/log-capturer\nSize: 12 kB\n";
        let constants = "7f10c0003000-7f10c0004000 r--p 00004000 fe:00 42   /usr/bin/log-capturer\n";
        let whole = "Anonymous:             0 kB\nSwap: 0 kB\n";
        let probed = "Anonymous:             4 kB\nSwap: 0 kB\n";
        let others = [
            "7f10c0004000-7f10c0005000 rw-p 00004000 fe:00 42   /usr/bin/log-capturer",
            "7ffd41fd8000-7ffd41fda000 r-xp 00000000 00:00 0    [vdso]",
            "7ffd41fd8000-7ffd41fda000 r-xp 00000000 00:00 0 ",
            "",
        ];
        let others = others.map(|first| format!("{first}\n{whole}")).concat();
        let smaps = [
            code, probed, &others, code, whole, &others, constants, probed, constants, whole,
        ]
        .concat();
        assert_eq!(
            unchanged(&smaps),
            [(0x7f10_c000_0000, 0x3000), (0x7f10_c000_3000, 0x1000)]
        );
        assert_eq!(unchanged(&format!("{code}{probed}{others}")), []);
    }

    /// The library's code is dropped and run again, this function's own included.
    #[test]
    fn all_goes_on_afterwards() {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!unchanged(&smaps).is_empty(), "{smaps}");
        give_back();
        assert_eq!("a".repeat(3).to_uppercase(), "AAA");
    }
}
