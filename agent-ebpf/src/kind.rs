//! What a file is: read from the file itself, never concluded from the call that made it.

use abi::{INET, INET6, Kind, Sample};

use crate::{
    kernel::{self, AF_UNIX, Address, SOCK_DGRAM, SOCK_STREAM},
    maps::OPERATIONS,
};

/// Those that are told by their operations alone, and what they tell.
const BY_OPERATIONS: [(Sample, Kind); 13] = [
    (Sample::Pipe, Kind::Pipe),
    (Sample::Epoll, Kind::Epoll),
    (Sample::Eventfd, Kind::Eventfd),
    (Sample::Timerfd, Kind::Timerfd),
    (Sample::Memfd, Kind::File),
    (Sample::BpfMap, Kind::Bpf),
    (Sample::BpfProgram, Kind::Bpf),
    (Sample::BpfLink, Kind::Bpf),
    (Sample::BpfTypes, Kind::Bpf),
    (Sample::Perf, Kind::Perf),
    (Sample::Path, Kind::File),
    (Sample::Secret, Kind::File),
    (Sample::Namespace, Kind::Other),
];

/// A [`Kind`]; 0 for no file.
#[inline(always)]
pub fn of(file: Address) -> u64 {
    kind_of(file as u64)
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn kind_of(file: u64) -> u64 {
    let file = file as Address;
    if file.is_null() {
        return 0;
    }
    let operations = kernel::operations(file);
    if is(operations, Sample::Socket) {
        return of_socket(file) as u64;
    }
    for (sample, kind) in BY_OPERATIONS {
        if is(operations, sample) {
            return kind as u64;
        }
    }
    // A FIFO that was opened by a path has other operations than what `pipe` makes since Linux 6.15.
    let kind = if kernel::is_fifo(file) {
        Kind::Pipe
    } else if kernel::has_path(file) {
        Kind::File
    } else {
        Kind::Other
    };
    kind as u64
}

#[inline(always)]
fn is(operations: u64, sample: Sample) -> bool {
    OPERATIONS[sample as usize].cell().load() == operations
}

#[inline(always)]
fn of_socket(file: Address) -> Kind {
    match kernel::family_and_type(file) {
        (AF_UNIX, _) => Kind::Unix,
        (INET | INET6, SOCK_STREAM) => Kind::Tcp,
        (INET | INET6, SOCK_DGRAM) => Kind::Udp,
        _ => Kind::Other,
    }
}
