//! Finds, on the running kernel, what the programs have to know of it.

use std::fs::{self, File};
use std::path::Path;

use abi::Layout;

use super::{
    btf::{Btf, BtfError},
    refusal::Refusal,
};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

type Place = fn(&mut Layout) -> &mut u32;

/// Fields of kernel structures, and where their offsets go.
const FIELDS: &[(&str, Place)] = &[
    ("task_struct.files", |layout| &mut layout.task_struct_files),
    ("files_struct.fdt", |layout| &mut layout.files_struct_fdt),
    (MAX_FDS, |layout| &mut layout.fdtable_max_fds),
    ("file.f_op", |layout| &mut layout.file_f_op),
    ("file.f_inode", |layout| &mut layout.file_f_inode),
    ("file.private_data", |layout| &mut layout.file_private_data),
    ("inode.i_mode", |layout| &mut layout.inode_i_mode),
    ("inode.i_ino", |layout| &mut layout.inode_i_ino),
    ("inode.i_sb", |layout| &mut layout.inode_i_sb),
    ("super_block.s_flags", |layout| &mut layout.super_block_s_flags),
    ("socket.sk", |layout| &mut layout.socket_sk),
    ("socket.type", |layout| &mut layout.socket_type),
    ("socket_alloc.socket", |layout| &mut layout.socket_alloc_socket),
    ("socket_alloc.vfs_inode", |layout| &mut layout.socket_alloc_vfs_inode),
    ("sock.sk_socket", |layout| &mut layout.sock_sk_socket),
    ("sock.__sk_common.skc_family", |layout| &mut layout.sock_skc_family),
    ("sock.__sk_common.skc_state", |layout| &mut layout.sock_skc_state),
    ("unix_sock.peer", |layout| &mut layout.unix_sock_peer),
    ("unix_sock.addr", |layout| &mut layout.unix_sock_addr),
    ("unix_address.len", |layout| &mut layout.unix_address_len),
    ("unix_address.name", |layout| &mut layout.unix_address_name),
    ("sock.__sk_common.skc_daddr", |layout| &mut layout.sock_skc_daddr),
    ("sock.__sk_common.skc_dport", |layout| &mut layout.sock_skc_dport),
    ("sock.sk_err", |layout| &mut layout.sock_sk_err),
    ("sock.sk_max_ack_backlog", |layout| &mut layout.sock_sk_max_ack_backlog),
];

const MAX_FDS: &str = "fdtable.max_fds";
/// Read at once with the one before it.
const FD: &str = "fdtable.fd";
/// Not there in a kernel without IPv6.
const V6_ADDRESS: &str = "sock.__sk_common.skc_v6_daddr";
const SHUTDOWN: &str = "sock.sk_shutdown";
#[cfg(target_arch = "x86_64")]
const REGISTERS: &[&str] = &["pt_regs.di", "pt_regs.si", "pt_regs.dx"];
#[cfg(not(target_arch = "x86_64"))]
const REGISTERS: &[&str] = &[];

/// The kernel's description of its types.
pub(super) type Types = Btf<'static, File>;

/// With all that [`structures`] and [`registers`] look for, and these functions.
pub(super) fn types(functions: impl Iterator<Item = &'static str>) -> Result<Types, Refusal> {
    let file = File::open(VMLINUX).map_err(|error| Refusal::new(format_args!("read {VMLINUX}"), &error))?;
    let paths = FIELDS.iter().map(|&(path, _)| path).chain([FD, V6_ADDRESS, SHUTDOWN]);
    let paths = paths.chain(REGISTERS.iter().copied());
    let names = paths.flat_map(|path| path.split('.'));
    Btf::read(file, names.chain(functions)).map_err(|error| Refusal::missing(format_args!("read {VMLINUX}"), error))
}

/// The fields of kernel structures. The tracepoints' records are [`records`], the registers [`registers`].
pub(super) fn structures(types: &mut Types) -> Result<Layout, Refusal> {
    fields(types).map_err(|error| Refusal::missing(format_args!("find kernel structures in {VMLINUX}"), error))
}

fn fields(types: &mut Types) -> Result<Layout, BtfError> {
    let mut layout = Layout::default();
    for &(path, place) in FIELDS {
        *place(&mut layout) = types.offset(path)?;
    }
    if types.offset(FD)? != layout.fdtable_max_fds + 8 {
        return Err(BtfError::NoField(format!("{FD} after {MAX_FDS}")));
    }
    layout.sock_skc_v6_daddr = types.offset(V6_ADDRESS).unwrap_or_default();
    layout.sock_sk_shutdown = types.bits(SHUTDOWN)?;
    Ok(layout)
}

/// Adds the tracepoints' records: all `sys_enter_*` are alike, and all `sys_exit_*`.
pub(super) fn records(tracefs: &Path, layout: &mut Layout) -> Result<(), Refusal> {
    layout.enter_args = record_field(tracefs, "sys_enter_close", "fd")?;
    layout.exit_ret = record_field(tracefs, "sys_exit_close", "ret")?;
    Ok(())
}

/// Where a system call's first three arguments are, in `pt_regs`.
pub(super) type Registers = [u32; 3];

/// Finds them.
pub(super) fn registers(types: &mut Types) -> Result<Registers, Refusal> {
    const WHAT: &str = "find a system call's arguments";
    let &[first, second, third] = REGISTERS else {
        return Err(Refusal::missing(WHAT, "not known for this processor"));
    };
    let mut find = || Ok([types.offset(first)?, types.offset(second)?, types.offset(third)?]);
    find().map_err(|error: BtfError| Refusal::missing(WHAT, error))
}

fn record_field(tracefs: &Path, event: &str, field: &str) -> Result<u32, Refusal> {
    let path = tracefs.join("events/syscalls").join(event).join("format");
    let format =
        fs::read_to_string(&path).map_err(|error| Refusal::new(format_args!("read {}", path.display()), &error))?;
    offset_in(&format, field).ok_or_else(|| {
        Refusal::missing(
            format_args!("read {}", path.display()),
            format_args!("no field `{field}`"),
        )
    })
}

/// From `field:unsigned int fd; offset:16; size:8; signed:0;`.
fn offset_in(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        if declaration.rsplit(' ').next() != Some(field) {
            return None;
        }
        rest.trim().strip_prefix("offset:")?.split(';').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sys_enter_close\nID: 700\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:unsigned int fd;\toffset:16;\tsize:8;\tsigned:0;\n\n\
        print fmt: \"fd: 0x%08lx\", ((unsigned long)(REC->fd))\n";

    #[test]
    fn a_field_of_a_record() {
        assert_eq!(offset_in(FORMAT, "fd"), Some(16));
        assert_eq!(offset_in(FORMAT, "common_pid"), Some(4));
        assert_eq!(offset_in(FORMAT, "ret"), None);
    }

    #[test]
    fn the_running_kernel_has_them_all() {
        match types(std::iter::empty()).and_then(|mut types| structures(&mut types)) {
            Ok(layout) => assert!(layout.unix_sock_peer > layout.sock_sk_socket, "{layout:?}"),
            Err(refusal) => println!("not run: {refusal}"),
        }
    }
}
