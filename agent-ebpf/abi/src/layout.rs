//! Where the running kernel keeps what the programs read. The agent finds it and sets it before the load,
//! as rustc emits no CO-RE relocations (aya #349).

/// A number of up to 32 bits, which on some kernels is a bit field: `(word at offset >> shift) & mask`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    pub offset: u32,
    pub shift: u32,
    pub mask: u32,
}

/// Offsets in bytes: two of the tracepoints' records (their `common_*` head is not the same on every kernel; tier tracepoint
/// alone needs them), then
/// of structure fields, named `structure_field`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub enter_args: u32,
    pub exit_ret: u32,
    pub task_struct_files: u32,
    pub files_struct_fdt: u32,
    /// `max_fds`, and `fd` eight bytes after it.
    pub fdtable_max_fds: u32,
    pub file_f_op: u32,
    pub file_f_inode: u32,
    pub file_private_data: u32,
    pub inode_i_mode: u32,
    pub inode_i_ino: u32,
    pub inode_i_sb: u32,
    pub super_block_s_flags: u32,
    pub socket_sk: u32,
    pub socket_type: u32,
    pub socket_alloc_socket: u32,
    pub socket_alloc_vfs_inode: u32,
    pub sock_sk_socket: u32,
    pub sock_skc_family: u32,
    pub sock_skc_state: u32,
    pub unix_sock_peer: u32,
    pub unix_sock_addr: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    pub sock_skc_daddr: u32,
    pub sock_skc_dport: u32,
    /// Meaningless in a kernel without IPv6, which has no such sockets either.
    pub sock_skc_v6_daddr: u32,
    pub sock_sk_err: u32,
    pub sock_sk_max_ack_backlog: u32,
    /// The registers of a system call's first three arguments. Tier fentry alone needs them.
    pub pt_regs_first: u32,
    pub pt_regs_second: u32,
    pub pt_regs_third: u32,
    pub sock_sk_shutdown: Bits,
}

const _: () = assert!(size_of::<Layout>() == 31 * 4 + 12);
