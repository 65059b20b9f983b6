//! What processes use, as `/proc` has it.

#![expect(unsafe_code, reason = "clocks of other processes are read through the C library")]

use std::fs;
use std::time::Duration;

/// Processor time of a process and all its threads, the ended ones too, until it is waited for: what `utime` and `stime`
/// of `/proc/PID/stat` are made of, but in nanoseconds and not in hundredths of a second.
pub fn processor_time(pid: u32) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both are only written to, and only during the call.
    let known = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if known {
        Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
    } else {
        Duration::ZERO
    }
}

/// What some processes hold together at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// Resident memory, pages of the programs' files included.
    pub resident: u64,
    /// The most that ever was resident, moments between two looks included.
    pub peak: u64,
    /// Resident memory that is theirs alone to account for.
    pub anonymous: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Held {
    pub fn by(pids: &[u32]) -> Self {
        let mut all = Self::default();
        for pid in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            all.resident += 1024 * field(&status, "VmRSS:");
            all.peak += 1024 * field(&status, "VmHWM:");
            all.anonymous += 1024 * field(&status, "RssAnon:");
            all.threads += field(&status, "Threads:");
            all.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64;
        }
        all
    }

    /// The most of each.
    pub fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            peak: self.peak.max(other.peak),
            anonymous: self.anonymous.max(other.anonymous),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn ones_own_time_and_memory() {
        let before = processor_time(std::process::id());
        let memory = vec![1_u8; 8 << 20];
        let start = Instant::now();
        let mut turns = 0_u64;
        while processor_time(std::process::id()) < before + Duration::from_millis(50) {
            turns += 1;
            assert!(start.elapsed() < Duration::from_secs(60), "no time is counted");
        }
        assert!(turns > 0);
        let held = Held::by(&[std::process::id()]);
        assert!(
            held.anonymous >= memory.len() as u64 && held.resident >= held.anonymous && held.peak >= held.resident,
            "{held:?}"
        );
        assert!(held.threads >= 1 && held.descriptors >= 3, "{held:?}");
    }
}
