//! Where the running kernel keeps what the programs read. The agent finds it and sets it before the load,
//! as rustc emits no CO-RE relocations (aya #349).

/// A number of up to 32 bits, which on some kernels is a bit field: `(word at offset >> shift) & mask`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// Where the word is, in bytes from the start of the structure.
    pub offset: u32,
    /// How many bits of the word are below the number.
    pub shift: u32,
    /// Has as many low bits set as the number is wide.
    pub mask: u32,
}

/// Offsets in bytes: two of the tracepoints' records (their `common_*` head is not the same on every kernel; tier tracepoint
/// alone needs them), then
/// of structure fields, named `structure_field`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The first argument, in the record of `sys_enter_*`; the others follow, eight bytes each.
    pub enter_args: u32,
    /// The result, in the record of `sys_exit_*`.
    pub exit_ret: u32,
    /// `struct task_struct`: the process's table of descriptors.
    pub task_struct_files: u32,
    /// `struct files_struct`: the table that is in use now. It is replaced when it grows.
    pub files_struct_fdt: u32,
    /// `max_fds`, and `fd` eight bytes after it.
    pub fdtable_max_fds: u32,
    /// `struct file`: its operations, which tell its kind (see [`crate::Sample`]).
    pub file_f_op: u32,
    /// `struct file`: its inode.
    pub file_f_inode: u32,
    /// `struct file`: for a socket, its `struct socket`.
    pub file_private_data: u32,
    /// `struct inode`: the type of the file and its permissions.
    pub inode_i_mode: u32,
    /// `struct inode`: its number, which the agent knows a socket by.
    pub inode_i_ino: u32,
    /// `struct inode`: its file system.
    pub inode_i_sb: u32,
    /// `struct super_block`: among others, that the file system has no paths (`SB_NOUSER`).
    pub super_block_s_flags: u32,
    /// `struct socket`: its `struct sock`.
    pub socket_sk: u32,
    /// `struct socket`: `SOCK_STREAM` or another.
    pub socket_type: u32,
    /// `struct socket_alloc`: the socket, beside its inode.
    pub socket_alloc_socket: u32,
    /// `struct socket_alloc`: the inode, beside its socket.
    pub socket_alloc_vfs_inode: u32,
    /// `struct sock`: its `struct socket`; null once that is released.
    pub sock_sk_socket: u32,
    /// `struct sock`: `AF_UNIX` or another.
    pub sock_skc_family: u32,
    /// `struct sock`: its state, see [`crate::tcp`].
    pub sock_skc_state: u32,
    /// `struct unix_sock`: the `struct sock` of the other end.
    pub unix_sock_peer: u32,
    /// `struct unix_sock`: the name that it is bound to, or null.
    pub unix_sock_addr: u32,
    /// `struct unix_address`: how long the name is, with its family of two bytes.
    pub unix_address_len: u32,
    /// `struct unix_address`: the name, as a `struct sockaddr_un`.
    pub unix_address_name: u32,
    /// `struct sock`: the peer's IPv4 address, in network order.
    pub sock_skc_daddr: u32,
    /// `struct sock`: the peer's port, in network order.
    pub sock_skc_dport: u32,
    /// Meaningless in a kernel without IPv6, which has no such sockets either.
    pub sock_skc_v6_daddr: u32,
    /// `struct sock`: why an attempt to connect has failed, as an errno, until a call has fetched
    /// it.
    pub sock_sk_err: u32,
    /// `struct sock`: the second argument of `listen`. An accepted socket has it from its listener;
    /// in one that has connected it is 0.
    pub sock_sk_max_ack_backlog: u32,
    /// The registers of a system call's first three arguments. Tier fentry alone needs them.
    pub pt_regs_first: u32,
    /// See `pt_regs_first`.
    pub pt_regs_second: u32,
    /// See `pt_regs_first`.
    pub pt_regs_third: u32,
    /// `struct sock`: which directions are shut down, `RCV_SHUTDOWN` and `SEND_SHUTDOWN`.
    pub sock_sk_shutdown: Bits,
}

const _: () = assert!(size_of::<Layout>() == 31 * 4 + 12);
