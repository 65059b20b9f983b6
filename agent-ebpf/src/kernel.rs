//! Walks through the kernel's structures. Everything may change under us: a socket is believed only if the descriptor
//! still leads to it after it was read.

use abi::Ends;
use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
};

#[unsafe(no_mangle)]
pub static LAYOUT: Global<abi::Layout> = Global::new(EMPTY);

const EMPTY: abi::Layout = {
    // SAFETY: integers only.
    unsafe { core::mem::zeroed() }
};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
/// `fdt->max_fds` is bounded by `sysctl_nr_open_max`; a bound here keeps the index positive.
const MAX_FDS: u32 = 1 << 30;
pub const AF_UNIX: u16 = 1;
pub const SOCK_STREAM: u16 = 1;

/// One field of the layout, without copying all of it to the stack.
macro_rules! offset {
    ($($field:ident).+) => {
        // SAFETY: a field of a static; volatile because the loader replaces its value before the load.
        unsafe { core::ptr::read_volatile(&raw const (*(&raw const $crate::kernel::LAYOUT).cast::<abi::Layout>()).$($field).+) }
    };
}
pub(crate) use offset;

type Address = *const u8;

#[inline(always)]
fn read<T>(base: Address, offset: u32) -> Option<T> {
    // SAFETY: the helper refuses a bad address instead of faulting.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast()) }.ok()
}

#[inline(always)]
fn follow(base: Address, offset: u32) -> Option<Address> {
    read::<Address>(base, offset).filter(|next| !next.is_null())
}

#[derive(Clone, Copy)]
pub struct Socket {
    pub inode: u64,
    socket: Address,
}

/// The socket behind a descriptor of the current process.
#[inline(always)]
pub fn socket(fd: u32) -> Option<Socket> {
    let slot = slot(fd)?;
    let file = follow(slot, 0)?;
    let inode = follow(file, offset!(file_f_inode))?;
    // Only sockfs has inodes of this kind with a `struct socket` behind: a descriptor to a socket's path is opened
    // with O_PATH, and has no private data.
    if read::<u16>(inode, offset!(inode_i_mode))? & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket = follow(file, offset!(file_private_data))?;
    let inode = read(inode, offset!(inode_i_ino))?;
    // `struct file` is recycled without a grace period (SLAB_TYPESAFE_BY_RCU): look again, as `__fget_files_rcu` does.
    (follow(slot, 0)? == file).then_some(Socket { inode, socket })
}

/// `&current->files->fdt->fd[fd]`
#[inline(always)]
fn slot(fd: u32) -> Option<Address> {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() } as Address;
    let files = follow(task, offset!(task_struct_files))?;
    let table = follow(files, offset!(files_struct_fdt))?;
    let max: u32 = read(table, offset!(fdtable_max_fds))?;
    if fd >= max || fd >= MAX_FDS {
        return None;
    }
    Some(follow(table, offset!(fdtable_fd))?.wrapping_add(fd as usize * size_of::<Address>()))
}

impl Socket {
    #[inline(always)]
    pub fn is_unix_stream(&self) -> bool {
        self.kind() == Some((AF_UNIX, SOCK_STREAM))
    }

    #[inline(always)]
    fn kind(&self) -> Option<(u16, u16)> {
        let sk = follow(self.socket, offset!(socket_sk))?;
        Some((read(sk, offset!(sock_skc_family))?, read(self.socket, offset!(socket_type))?))
    }

    #[inline(always)]
    pub fn ends(&self) -> Option<Ends> {
        let sk = follow(self.socket, offset!(socket_sk))?;
        let word: u32 = read(sk, offset!(sock_sk_shutdown.offset))?;
        let shutdown = (word >> (offset!(sock_sk_shutdown.shift) & 31)) & offset!(sock_sk_shutdown.mask);
        let Some(peer) = follow(sk, offset!(unix_sock_peer)) else {
            return Some(Ends { shutdown, peer_state: abi::CLOSED, peer_inode: 0 });
        };
        Some(Ends {
            shutdown,
            peer_state: u32::from(read::<u8>(peer, offset!(sock_skc_state))?),
            peer_inode: inode_of(peer).unwrap_or(0),
        })
    }
}

/// `SOCK_INODE(sk->sk_socket)->i_ino`; none for a socket that has no file.
#[inline(always)]
fn inode_of(sk: Address) -> Option<u64> {
    let socket = follow(sk, offset!(sock_sk_socket))?;
    let inode = socket
        .wrapping_sub(offset!(socket_alloc_socket) as usize)
        .wrapping_add(offset!(socket_alloc_vfs_inode) as usize);
    read(inode, offset!(inode_i_ino))
}
