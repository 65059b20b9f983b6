//! System calls that began and of which no hook has seen the end: what the other hook left behind is taken away.

#![expect(unsafe_code, reason = "one system call is made for which no crate has a wrapper")]

use std::collections::HashMap as Map;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError};

use super::object::{ask, raw_tracepoint};
use super::refusal::Refusal;

/// `CALLS`
pub(super) struct Calls {
    map: HashMap<MapData, u32, abi::Call>,
    fd: OwnedFd,
    /// By thread: the call, and at how many scans in a row it was the same.
    seen: Mutex<Map<u32, (abi::Call, u32)>>,
}

/// Calls that change the table are over after two scans. Any other may wait for as long as its peer lets it, `connect` above all;
/// after so many scans one loses at most who opened the connection.
const PATIENCE: u32 = 60;

impl Calls {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Refusal> {
        const NAME: &str = "CALLS";
        let map = ebpf.take_map(NAME).ok_or_else(|| Refusal::foreign_object(NAME))?;
        let aya::maps::Map::HashMap(data) = map else {
            return Err(Refusal::foreign_object(NAME));
        };
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| Refusal::new("duplicate a map's descriptor", &error))?;
        let map = HashMap::try_from(aya::maps::Map::HashMap(data)).map_err(|error| unreadable(&error))?;
        Ok(Self {
            map,
            fd,
            seen: Mutex::default(),
        })
    }

    /// By thread, those that are under way.
    pub(super) fn now(&self) -> Result<Map<u32, abi::Call>, Refusal> {
        let all = self.map.iter().filter(|entry| {
            // One that ended between the key and the value.
            !matches!(entry, Err(MapError::KeyNotFound))
        });
        all.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
    }

    /// At each scan: gives up those that must be over.
    pub(super) fn scan(&self, ebpf: &Ebpf) -> Result<(), Refusal> {
        let now = self.now()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|thread, (call, _)| now.get(thread) == Some(&*call));
        for (thread, call) in now {
            let (_, times) = seen.entry(thread).or_insert((call, 0));
            *times += 1;
            let enough = if call.inode == 0 { PATIENCE } else { 2 };
            if *times >= enough {
                seen.remove(&thread);
                self.give_up(ebpf, thread)?;
            }
        }
        Ok(())
    }

    /// Takes the call out of the map, and lets go what it held. If its end is seen all the same, nothing is found then; so only
    /// one of both lets go.
    pub(super) fn give_up(&self, ebpf: &Ebpf, thread: u32) -> Result<(), Refusal> {
        match self.remove(thread) {
            Some(call) => ask(raw_tracepoint(ebpf, "let_go")?, call.inode),
            None => Ok(()),
        }
    }

    /// Looked up and removed in one (since 5.14); aya has no call for it. None where it was gone, and on older kernels, where it
    /// stays until its thread makes another call.
    fn remove(&self, thread: u32) -> Option<abi::Call> {
        // include/uapi/linux/bpf.h
        const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
        #[repr(C)]
        struct Attributes {
            map_fd: u64,
            key: u64,
            value: u64,
            flags: u64,
        }
        let mut call = abi::Call::default();
        let attributes = Attributes {
            map_fd: self.fd.as_raw_fd() as u64,
            key: (&raw const thread) as u64,
            value: (&raw mut call) as u64,
            flags: 0,
        };
        // SAFETY: key and value are as large as the map's, and live as long as the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_AND_DELETE_ELEM,
                &raw const attributes,
                size_of::<Attributes>(),
            )
        };
        if result == 0 {
            return Some(call);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::NotFound {
            tracing::debug!(%error, "cannot give up a call that is over");
        }
        None
    }
}

fn unreadable(error: &MapError) -> Refusal {
    Refusal::new("read the map `CALLS`", error)
}
