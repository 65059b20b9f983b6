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

/// A TCP socket that is in a state which `ss` lists.
pub struct Tcp {
    /// As `ss` writes it: `ESTAB`, `CLOSE-WAIT`.
    pub state: String,
    port: String,
    pub inode: u64,
}

pub fn ss_tcp() -> Vec<Tcp> {
    let output = Command::new("ss").args(["-taneH"]).output().expect("ss (iproute2)");
    assert!(
        output.status.success(),
        "ss: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut sockets = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let inode = words
            .iter()
            .find_map(|word| word.strip_prefix("ino:")?.parse().ok())
            .unwrap_or(0);
        // STATE RECV SEND LOCAL PEER ...
        if let [state, _, _, local, ..] = words[..] {
            let port = local.rsplit(':').next().unwrap_or_default();
            sockets.push(Tcp {
                state: state.into(),
                port: port.into(),
                inode,
            });
        }
    }
    sockets
}

/// Inodes of all client ends of TCP connections on this host. An accepted end has its listener's port.
fn tcp_clients() -> BTreeSet<u64> {
    let sockets = ss_tcp();
    let listened: BTreeSet<_> = sockets
        .iter()
        .filter(|socket| socket.state == "LISTEN")
        .map(|socket| socket.port.clone())
        .collect();
    sockets
        .into_iter()
        .filter(|socket| {
            !listened.contains(&socket.port) && !["SYN-SENT", "TIME-WAIT"].contains(&socket.state.as_str())
        })
        .map(|socket| socket.inode)
        .collect()
}

/// Inode → state, as `/proc/net/tcp` has them: its number in hexadecimal.
pub fn proc_tcp() -> BTreeMap<u64, String> {
    let mut states = BTreeMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).expect(file);
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            states.insert(words[9].parse().expect("an inode"), words[3].to_owned());
        }
    }
    states
}

/// What the ledger must say: inode → number of descriptors, by both witnesses.
pub fn connections() -> BTreeMap<u64, u32> {
    let mut clients = ss_clients();
    clients.extend(tcp_clients());
    proc_sockets()
        .into_iter()
        .filter(|(inode, _)| clients.contains(inode))
        .map(|(inode, fds)| (inode, fds.len() as u32))
        .collect()
}
