//! What the kernel half holds in memory, on both sides.

use std::fs;

use crate::figures::bytes;

#[derive(Default)]
pub struct Memory {
    resident: u64,
    peak: u64,
    maps: Objects,
    programs: Objects,
}

#[derive(Default)]
struct Objects {
    count: usize,
    bytes: u64,
}

impl Memory {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let kilobytes = |name| field(&status, name).expect("a field of it") * 1024;
        let mut now = Self {
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
            ..Self::default()
        };
        for entry in fs::read_dir("/proc/self/fdinfo").expect("/proc is mounted") {
            // The directory's own descriptor is among them, and gone by now.
            let Ok(info) = fs::read_to_string(entry.expect("an entry").path()) else {
                continue;
            };
            let objects = match () {
                () if info.contains("map_type:") => &mut now.maps,
                () if info.contains("prog_type:") => &mut now.programs,
                () => continue,
            };
            objects.count += 1;
            objects.bytes += field(&info, "memlock:").unwrap_or(0);
        }
        now
    }

    pub fn print(&self, before: &Self) {
        println!(
            "in the kernel: {} maps of {}, {} programs of {} (`memlock` in fdinfo)",
            self.maps.count,
            bytes(self.maps.bytes),
            self.programs.count,
            bytes(self.programs.bytes)
        );
        println!(
            "in the agent: {} resident more after the attach; its peak was {} more",
            bytes(self.resident.saturating_sub(before.resident)),
            bytes(self.peak.saturating_sub(before.peak))
        );
    }
}

/// The number after a name, without its unit.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
