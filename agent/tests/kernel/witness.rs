//! Who else knows what this process holds: `/proc` and `ss` (sock_diag), neither of which is BPF.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// Inode → descriptors, of every socket in `/proc/self/fd`.
pub fn proc_sockets() -> BTreeMap<u64, BTreeSet<i32>> {
    let mut sockets = BTreeMap::<u64, BTreeSet<i32>>::new();
    for entry in fs::read_dir("/proc/self/fd").expect("/proc is mounted") {
        let entry = entry.expect("an entry");
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let inode = target
            .to_str()
            .and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(inode), Some(fd)) = (inode, fd) {
            sockets.entry(inode).or_default().insert(fd);
        }
    }
    sockets
}

/// Inodes of all client ends of AF_UNIX stream connections on this host: `ss -x` has no name for our end of them.
pub fn ss_clients() -> BTreeSet<u64> {
    let output = Command::new("ss")
        .args(["-x", "-H", "-n", "state", "established"])
        .output()
        .expect("ss (iproute2)");
    assert!(
        output.status.success(),
        "ss: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        // u_str RECV SEND LOCAL INODE PEER INODE; the state's column is left out with `state`.
        .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["u_str", _, _, "*", inode, ..] => inode.parse().ok(),
            _ => None,
        })
        .collect()
}

/// What the ledger must say: inode → number of descriptors, by both witnesses.
pub fn connections() -> BTreeMap<u64, u32> {
    let clients = ss_clients();
    proc_sockets()
        .into_iter()
        .filter(|(inode, _)| clients.contains(inode))
        .map(|(inode, fds)| (inode, fds.len() as u32))
        .collect()
}
