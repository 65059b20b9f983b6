//! Walks through the kernel's structures, which may change under us: what is read is believed only if the descriptor leads to the
//! same file afterwards. A read costs some 40 ns, so there are as few as can be.

use core::{mem::MaybeUninit, ptr};

use abi::{Ends, INET, INET6, Kind, tcp};
use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel},
};

#[unsafe(no_mangle)]
pub static LAYOUT: Global<abi::Layout> = Global::new(EMPTY);

const EMPTY: abi::Layout = {
    // SAFETY: integers only.
    unsafe { core::mem::zeroed() }
};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const S_IFIFO: u16 = 0o010_000;
pub const AF_UNIX: u16 = 1;
pub const SOCK_STREAM: u16 = 1;
pub const SOCK_DGRAM: u16 = 2;
/// The flag of a superblock whose files no path leads to (`init_pseudo`): anonymous inodes, pidfs, nsfs.
const SB_NOUSER: u64 = 1 << 31;

/// One field of the layout, without copying all of it to the stack.
macro_rules! offset {
    ($($field:ident).+) => {
        // SAFETY: a field of a static; volatile because the loader replaces its value before the load.
        unsafe { core::ptr::read_volatile(&raw const (*(&raw const $crate::kernel::LAYOUT).cast::<abi::Layout>()).$($field).+) }
    };
}
pub(crate) use offset;

pub type Address = *const u8;

/// What cannot be read is 0, which the helper writes then: no address, no inode, no kind of file. (With options instead, LLVM
/// merges paths and reads a register that was written on one of them only; the verifier refuses that.)
#[inline(always)]
fn read<T: Copy>(base: Address, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    let source = base.wrapping_add(offset as usize).cast();
    // SAFETY: the helper refuses a bad address instead of faulting. All that is read here is integers and addresses.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source);
        value.assume_init()
    }
}

/// Copies a struct from one map to another. By the helper: what LLVM makes of an assignment is a loop over single bytes, and the
/// verifier walks through every turn of it.
///
/// # Safety
/// `to` is in a map's value, and nobody else writes there meanwhile.
#[inline(always)]
pub unsafe fn copy<T: Copy>(from: *const T, to: *mut T) {
    // SAFETY: the caller's; the helper refuses a bad source instead of faulting.
    unsafe { bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from.cast()) };
}

/// The registers of a system call's caller, `struct pt_regs`.
#[derive(Clone, Copy)]
pub struct Registers(pub Address);

impl Registers {
    /// One of the first three arguments.
    #[inline(always)]
    pub fn argument(self, index: usize) -> u64 {
        let offset = match index {
            0 => offset!(pt_regs_first),
            1 => offset!(pt_regs_second),
            _ => offset!(pt_regs_third),
        };
        read(self.0, offset)
    }
}

/// The current process's table of descriptors, `current->files->fdt`, as it is now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Table {
    pub max_fds: u32,
    pub fd: Address,
}

impl Table {
    /// As it was found before, handed on to a global function.
    #[inline(always)]
    pub fn of(max_fds: u32, fd: u64) -> Self {
        Self {
            max_fds,
            fd: fd as Address,
        }
    }

    #[inline(always)]
    pub fn now() -> Self {
        // SAFETY: the helper has no preconditions.
        let task = unsafe { bpf_get_current_task() } as Address;
        let files: Address = read(task, offset!(task_struct_files));
        let table: Address = read(files, offset!(files_struct_fdt));
        read(table, offset!(fdtable_max_fds))
    }

    /// Null if the descriptor is not open.
    #[inline(always)]
    pub fn file(self, fd: u32) -> Address {
        if fd >= self.max_fds {
            return ptr::null();
        }
        read(self.fd.wrapping_add(fd as usize * size_of::<Address>()), 0)
    }
}

#[inline(always)]
pub fn file(fd: u32) -> Address {
    Table::now().file(fd)
}

#[inline(always)]
pub fn operations(file: Address) -> u64 {
    read(file, offset!(file_f_op))
}

#[inline(always)]
pub fn is_fifo(file: Address) -> bool {
    let inode: Address = read(file, offset!(file_f_inode));
    read::<u16>(inode, offset!(inode_i_mode)) & S_IFMT == S_IFIFO
}

/// Whether a path may lead to it.
#[inline(always)]
pub fn has_path(file: Address) -> bool {
    let inode: Address = read(file, offset!(file_f_inode));
    let superblock: Address = read(inode, offset!(inode_i_sb));
    let flags: u64 = read(superblock, offset!(super_block_s_flags));
    flags & SB_NOUSER == 0
}

/// Whether a file of this kind may be the end of a connection that `connect` made: the question that a census asks of each file,
/// hence with few reads.
#[inline(always)]
pub fn may_be_connected(file: Address, kind: u64) -> bool {
    let is_unix = kind == Kind::Unix as u64;
    if !is_unix && kind != Kind::Tcp as u64 {
        return false;
    }
    let socket: Address = read(file, offset!(file_private_data));
    let sk: Address = read(socket, offset!(socket_sk));
    if is_unix {
        // Listeners and accepted ends have an address of their own.
        read::<Address>(sk, offset!(unix_sock_addr)).is_null()
    } else {
        is_tcp_connected(sk)
    }
}

/// Whether this is the end that connected, and is through with that. An accepted end is a copy of its listener
/// (`sk_clone_lock`), and so has the length of the listener's queue. (With `listen(fd, 0)` that is 0, and its accepted ends are
/// taken for connections of ours.)
#[inline(always)]
pub fn is_tcp_connected(sk: Address) -> bool {
    !matches!(tcp_state(sk), tcp::SYN_SENT | tcp::SYN_RECV | tcp::CLOSE | tcp::LISTEN)
        && read::<u32>(sk, offset!(sock_sk_max_ack_backlog)) == 0
}

/// `sk_state`
#[inline(always)]
pub fn tcp_state(sk: Address) -> u32 {
    read::<u8>(sk, offset!(sock_skc_state)).into()
}

#[inline(always)]
pub fn sk_of(socket: Address) -> Address {
    read(socket, offset!(socket_sk))
}

/// The other end of an AF_UNIX connection.
#[inline(always)]
pub fn unix_peer(sk: Address) -> Address {
    read(sk, offset!(unix_sock_peer))
}

/// What `SO_ERROR` would give.
#[inline(always)]
pub fn error(sk: Address) -> u32 {
    read(sk, offset!(sock_sk_err))
}

/// The other end's port and IPv4 address, as on the wire.
#[inline(always)]
pub fn inet_peer(sk: Address) -> (u16, [u8; 4]) {
    (read(sk, offset!(sock_skc_dport)), read(sk, offset!(sock_skc_daddr)))
}

/// The other end's address of an IPv6 socket.
#[inline(always)]
pub fn inet6_peer(sk: Address) -> [u32; 4] {
    read(sk, offset!(sock_skc_v6_daddr))
}

/// Family and type of a file that is known to be a socket's.
#[inline(always)]
pub fn family_and_type(file: Address) -> (u16, u16) {
    let socket: Address = read(file, offset!(file_private_data));
    let sk: Address = read(socket, offset!(socket_sk));
    (read(sk, offset!(sock_skc_family)), read(socket, offset!(socket_type)))
}

/// Whether the descriptor is the socket with this inode.
#[inline(always)]
pub fn is_found(table: Table, fd: u32, wanted: u64) -> bool {
    table_is_socket(table.max_fds, table.fd as u64, fd, wanted) != 0
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_is_socket(max_fds: u32, files: u64, fd: u32, wanted: u64) -> u32 {
    is_socket(Table::of(max_fds, files).file(fd), wanted).into()
}

/// Whether it is the socket with this inode: the question that a walk asks of each file, hence with few reads.
#[inline(always)]
pub fn is_socket(file: Address, wanted: u64) -> bool {
    if file.is_null() {
        return false;
    }
    let inode: Address = read(file, offset!(file_f_inode));
    read::<u64>(inode, offset!(inode_i_ino)) == wanted && is_of_sockfs(file, inode)
}

/// Only sockfs has inodes of this kind with a `struct socket` behind: a descriptor to a socket's path is opened with O_PATH, and
/// has no private data.
#[inline(always)]
fn is_of_sockfs(file: Address, inode: Address) -> bool {
    let mode: u16 = read(inode, offset!(inode_i_mode));
    mode & S_IFMT == S_IFSOCK && !read::<Address>(file, offset!(file_private_data)).is_null()
}

/// The socket behind a descriptor of the current process.
#[derive(Clone, Copy)]
pub struct Socket {
    /// 0: no socket.
    pub inode: u64,
    pub file: Address,
    socket: Address,
}

impl Socket {
    const NONE: Self = Self {
        inode: 0,
        file: ptr::null(),
        socket: ptr::null(),
    };
}

#[inline(always)]
pub fn socket(fd: u32) -> Socket {
    let file = file(fd);
    if file.is_null() {
        return Socket::NONE;
    }
    let inode: Address = read(file, offset!(file_f_inode));
    if !is_of_sockfs(file, inode) {
        return Socket::NONE;
    }
    Socket {
        inode: read(inode, offset!(inode_i_ino)),
        file,
        socket: read(file, offset!(file_private_data)),
    }
}

impl Socket {
    #[inline(always)]
    pub fn sk(self) -> Address {
        read(self.socket, offset!(socket_sk))
    }

    /// The family of a stream socket: `AF_UNIX`, [`INET`] or [`INET6`]; 0 for all others.
    #[inline(always)]
    pub fn stream(self, sk: Address) -> u16 {
        let family: u16 = read(sk, offset!(sock_skc_family));
        let kind: u16 = read(self.socket, offset!(socket_type));
        if kind == SOCK_STREAM && matches!(family, AF_UNIX | INET | INET6) {
            family
        } else {
            0
        }
    }
}

/// An address that a socket is bound to, in the kernel's memory: as `connect` would take it.
pub struct Bound {
    pub name: Address,
    pub length: u32,
}

/// The address of the other end, if this is the end that connected: it has a peer with an address, and none itself. (The
/// accepted end shares its listener's; a pair has none.)
#[inline(always)]
pub fn connected_to(sk: Address) -> Option<Bound> {
    let own: Address = read(sk, offset!(unix_sock_addr));
    if own.is_null() { bound_peer(sk) } else { None }
}

/// The address of the other end, if it has one.
#[inline(always)]
pub fn bound_peer(sk: Address) -> Option<Bound> {
    let peer: Address = read(sk, offset!(unix_sock_peer));
    let theirs: Address = read(peer, offset!(unix_sock_addr));
    if peer.is_null() || theirs.is_null() {
        return None;
    }
    Some(Bound {
        name: theirs.wrapping_add(offset!(unix_address_name) as usize),
        length: read(theirs, offset!(unix_address_len)),
    })
}

/// Both ends of a connection, from ours.
#[inline(always)]
pub fn ends(sk: Address, family: u16) -> Ends {
    if family != AF_UNIX {
        return Ends {
            tcp_state: tcp_state(sk) as u16,
            ..Ends::ALIVE
        };
    }
    let word: u32 = read(sk, offset!(sock_sk_shutdown.offset));
    let shutdown = (word >> (offset!(sock_sk_shutdown.shift) & 31)) & offset!(sock_sk_shutdown.mask);
    if shutdown == 0 {
        return Ends::ALIVE;
    }
    let peer: Address = read(sk, offset!(unix_sock_peer));
    let state: u8 = read(peer, offset!(sock_skc_state));
    // `SOCK_INODE(peer->sk_socket)->i_ino`; a peer that is not accepted yet, or released, has no `sk_socket`.
    let socket: Address = read(peer, offset!(sock_sk_socket));
    let inode = socket
        .wrapping_sub(offset!(socket_alloc_socket) as usize)
        .wrapping_add(offset!(socket_alloc_vfs_inode) as usize);
    let peer_inode = if socket.is_null() {
        0
    } else {
        read(inode, offset!(inode_i_ino))
    };
    // `unix_release_sock` takes `sk_socket` away before it sets `sk_shutdown`: what it set is not the peer's doing.
    if read::<Address>(sk, offset!(sock_sk_socket)).is_null() {
        return Ends::ALIVE;
    }
    Ends {
        shutdown,
        peer_state: state.into(),
        tcp_state: 0,
        peer_inode,
    }
}
