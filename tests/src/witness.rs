//! What others than the agent say of its process: `ss` (the kernel's
//! `sock_diag`) and `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A line of `ss -x`.
#[derive(Debug, Clone, PartialEq)]
pub struct UnixSocket {
    /// Its state, as `ESTAB` or `LISTEN`.
    pub state: String,
    /// The path that it is bound to, or `*`.
    pub path: String,
    /// Its inode.
    pub inode: u64,
    /// 0 where there is none: not accepted yet, or the peer is gone.
    pub peer: u64,
}

/// Every unix socket of the network namespace.
pub fn unix_sockets() -> Vec<UnixSocket> {
    let output = Command::new("ss").args(["-x", "-a", "-H"]).output().expect("run ss");
    assert!(output.status.success(), "ss failed: {output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(unix_socket)
        .collect()
}

/// `u_str ESTAB 0 0 /run/docker.sock 1139 * 1138`
fn unix_socket(line: &str) -> Option<UnixSocket> {
    let [_, state, _, _, path, inode, _, peer] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    Some(UnixSocket {
        state: state.into(),
        path: path.into(),
        inode: inode.parse().ok()?,
        peer: peer.parse().ok()?,
    })
}

/// Whom the process is connected to: an engine's socket, or its address.
pub trait Listener {
    /// As the agent shows it.
    fn name(&self) -> String;
    /// The connections of a process to it.
    fn connections(&self, pid: u32) -> Connections;
}

impl Listener for Path {
    fn name(&self) -> String {
        self.to_str().expect("a path of UTF-8").to_owned()
    }

    fn connections(&self, pid: u32) -> Connections {
        connections(pid, self)
    }
}

impl Listener for SocketAddr {
    fn name(&self) -> String {
        self.to_string()
    }

    fn connections(&self, pid: u32) -> Connections {
        let ours = socket_inodes(pid);
        let established = tcp_sockets().into_iter().filter(|socket| socket.state == "ESTAB");
        let inodes = established.filter(|socket| socket.peer == *self && ours.contains(&socket.inode));
        Connections {
            inodes: inodes.map(|socket| socket.inode).collect(),
            peerless: BTreeSet::new(),
        }
    }
}

/// A line of `ss -t`.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpSocket {
    /// Its state, as `ESTAB`.
    pub state: String,
    /// The address of the other end.
    pub peer: SocketAddr,
    /// Its inode.
    pub inode: u64,
}

/// Every TCP socket of the network namespace that is connected and has an owner.
pub fn tcp_sockets() -> Vec<TcpSocket> {
    let output = Command::new("ss").args(["-t", "-a", "-n", "-e", "-H"]).output();
    let output = output.expect("run ss");
    assert!(output.status.success(), "ss failed: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(tcp_socket).collect()
}

/// `ESTAB 0 0 127.0.0.1:41022 127.0.0.1:2376 timer:(keepalive,14sec,0) ino:71163 sk:1 <->`
fn tcp_socket(line: &str) -> Option<TcpSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let inode = fields.iter().find_map(|field| field.strip_prefix("ino:"))?;
    Some(TcpSocket {
        state: (*fields.first()?).to_owned(),
        peer: fields.get(4)?.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// The process's connections to the listener at `path`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connections {
    /// The inodes of the process's own ends.
    pub inodes: BTreeSet<u64>,
    /// The process's connected sockets without a peer: they cannot be told by their path.
    pub peerless: BTreeSet<u64>,
}

/// The connections of a process to the listener at a path.
pub fn connections(pid: u32, path: &Path) -> Connections {
    let ours = socket_inodes(pid);
    let all = unix_sockets();
    // The accepted end bears the listener's path, the connecting end has none.
    let path = path.to_str().expect("a path of UTF-8");
    let accepted: BTreeMap<u64, u64> = all
        .iter()
        .filter(|socket| socket.path == path && socket.state != "LISTEN")
        .map(|socket| (socket.inode, socket.peer))
        .collect();
    let mut found = Connections::default();
    for socket in all.iter().filter(|it| ours.contains(&it.inode) && it.state == "ESTAB") {
        if accepted.contains_key(&socket.peer) {
            found.inodes.insert(socket.inode);
        } else if socket.peer == 0 {
            found.peerless.insert(socket.inode);
        }
    }
    found
}

/// The inodes of the sockets among the process's descriptors.
pub fn socket_inodes(pid: u32) -> BTreeSet<u64> {
    descriptors(pid)
        .values()
        .filter_map(|target| socket_inode(target))
        .collect()
}

/// Descriptor to what it refers to.
pub fn descriptors(pid: u32) -> BTreeMap<u32, String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // A descriptor can be closed between the listing and the reading.
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// How many descriptors the process has of each kind, by what `/proc` says of them: the names are those of `kernel_fds`.
pub fn descriptors_by_kind(pid: u32) -> BTreeMap<&'static str, u64> {
    let sockets = socket_kinds(pid);
    let mut kinds = BTreeMap::new();
    for (number, target) in descriptors(pid) {
        let kind = if let Some(inode) = socket_inode(&target) {
            sockets.get(&inode).copied().unwrap_or("other")
        } else if let Some(name) = target.strip_prefix("anon_inode:") {
            match name.trim_matches(['[', ']']) {
                "eventpoll" => "epoll",
                "eventfd" => "eventfd",
                "timerfd" => "timerfd",
                "perf_event" => "perf",
                "bpf-map" | "bpf-prog" | "bpf-link" | "bpf_link" | "btf" => "bpf",
                _ => "other",
            }
        } else if fs::metadata(format!("/proc/{pid}/fd/{number}")).is_ok_and(|it| it.file_type().is_fifo()) {
            "pipe"
        } else if target.starts_with('/') {
            "file"
        } else {
            "other"
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// The sockets of the process's network namespace, by inode.
fn socket_kinds(pid: u32) -> BTreeMap<u64, &'static str> {
    // In which column the inode stands.
    let tables = [
        ("unix", 6, "unix"),
        ("tcp", 9, "tcp"),
        ("tcp6", 9, "tcp"),
        ("udp", 9, "udp"),
        ("udp6", 9, "udp"),
    ];
    let mut kinds = BTreeMap::new();
    for (table, column, kind) in tables {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let inode = |line: &str| line.split_whitespace().nth(column)?.parse::<u64>().ok();
        kinds.extend(text.lines().skip(1).filter_map(inode).map(|inode| (inode, kind)));
    }
    kinds
}

fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// User and system time of the process so far.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The second field is the program's name, which may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')').expect("the name's end") + 1..]
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13].iter().map(|it| it.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Resident memory, in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most resident memory that it ever had, in bytes.
pub fn most_resident(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Resident memory that is no file's, in bytes: what the process has allocated.
pub fn allocated(pid: u32) -> u64 {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect(field);
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

/// How many threads a process has; 0 once it has ended.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// System calls that have written, from the process's start: `syscw` of `/proc/PID/io` (proc(5)).
pub fn writes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("/proc/PID/io");
    let line = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.and_then(|count| count.parse().ok()).expect("syscw")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    use super::*;

    fn inode(stream: &UnixStream) -> u64 {
        let link = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
        let link = link.to_str().unwrap().to_owned();
        link.trim_start_matches("socket:[")
            .trim_end_matches(']')
            .parse()
            .unwrap()
    }

    #[test]
    fn finds_a_connection_by_its_listeners_path() {
        crate::needs!(crate::requirements::ss());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peer.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let ours = std::process::id();

        let waiting = UnixStream::connect(&path).unwrap();
        assert!(connections(ours, &path).peerless.contains(&inode(&waiting)));

        let accepted = listener.accept().unwrap().0;
        let found = connections(ours, &path);
        assert_eq!(found.inodes, BTreeSet::from([inode(&waiting)]));

        drop(accepted);
        let found = connections(ours, &path);
        assert!(found.inodes.is_empty());
        assert!(found.peerless.contains(&inode(&waiting)));
    }

    #[test]
    fn counts_descriptors_by_what_they_are() {
        let ours = std::process::id();
        let before = descriptors_by_kind(ours);
        let held = (
            std::io::pipe().unwrap(),
            UnixStream::pair().unwrap(),
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
            std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let after = descriptors_by_kind(ours);
        // Other tests of this process have descriptors, too.
        for (kind, least) in [("pipe", 2), ("unix", 2), ("udp", 1), ("tcp", 1)] {
            let count = |of: &BTreeMap<_, _>| of.get(kind).copied().unwrap_or(0);
            assert!(count(&after) >= least, "{kind}: {before:?}, then {after:?}");
        }
        drop(held);
    }

    #[test]
    fn measures_work_and_rest() {
        let ours = std::process::id();
        let before = cpu_time(ours);
        let start = Instant::now();
        // On a busy machine the processor is others' for most of the time.
        while cpu_time(ours) - before < Duration::from_millis(100) {
            assert!(start.elapsed() < crate::wait::PATIENCE, "no time is counted");
        }
        // Other tests of this process work, too, each on a processor.
        let processors = std::thread::available_parallelism().unwrap().get() as u32;
        assert!(
            start.elapsed() * processors >= Duration::from_millis(80),
            "more is counted than has passed"
        );
        assert!(resident(ours) > 1 << 20);
        assert!(!descriptors(ours).is_empty());
    }
}
