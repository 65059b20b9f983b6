//! Finds, on the running kernel, what the programs have to know of it.

use std::{fs, path::Path};

use abi::Layout;

use super::{
    btf::{Btf, BtfError},
    refusal::Refusal,
};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's description of its types.
pub fn vmlinux() -> Result<Vec<u8>, Refusal> {
    fs::read(VMLINUX).map_err(|error| Refusal::new(format_args!("read {VMLINUX}"), &error))
}

/// The fields of kernel structures. The tracepoints' records are [`records`], the registers [`registers`].
pub fn structures(vmlinux: &[u8]) -> Result<Layout, Refusal> {
    from_btf(vmlinux).map_err(|error| Refusal::missing(format_args!("find kernel structures in {VMLINUX}"), error))
}

fn from_btf(bytes: &[u8]) -> Result<Layout, BtfError> {
    let btf = Btf::parse(bytes)?;
    let fdtable_max_fds = btf.offset("fdtable.max_fds")?;
    // They are read at once.
    if btf.offset("fdtable.fd")? != fdtable_max_fds + 8 {
        return Err(BtfError::NoField("fdtable.fd after fdtable.max_fds".into()));
    }
    Ok(Layout {
        task_struct_files: btf.offset("task_struct.files")?,
        files_struct_fdt: btf.offset("files_struct.fdt")?,
        fdtable_max_fds,
        file_f_op: btf.offset("file.f_op")?,
        file_f_inode: btf.offset("file.f_inode")?,
        file_private_data: btf.offset("file.private_data")?,
        inode_i_mode: btf.offset("inode.i_mode")?,
        inode_i_ino: btf.offset("inode.i_ino")?,
        inode_i_sb: btf.offset("inode.i_sb")?,
        super_block_s_flags: btf.offset("super_block.s_flags")?,
        socket_sk: btf.offset("socket.sk")?,
        socket_type: btf.offset("socket.type")?,
        socket_alloc_socket: btf.offset("socket_alloc.socket")?,
        socket_alloc_vfs_inode: btf.offset("socket_alloc.vfs_inode")?,
        sock_sk_socket: btf.offset("sock.sk_socket")?,
        sock_skc_family: btf.offset("sock.__sk_common.skc_family")?,
        sock_skc_state: btf.offset("sock.__sk_common.skc_state")?,
        unix_sock_peer: btf.offset("unix_sock.peer")?,
        unix_sock_addr: btf.offset("unix_sock.addr")?,
        unix_address_len: btf.offset("unix_address.len")?,
        unix_address_name: btf.offset("unix_address.name")?,
        sock_skc_daddr: btf.offset("sock.__sk_common.skc_daddr")?,
        sock_skc_dport: btf.offset("sock.__sk_common.skc_dport")?,
        // Not there in a kernel without IPv6.
        sock_skc_v6_daddr: btf.offset("sock.__sk_common.skc_v6_daddr").unwrap_or_default(),
        sock_sk_err: btf.offset("sock.sk_err")?,
        sock_sk_max_ack_backlog: btf.offset("sock.sk_max_ack_backlog")?,
        sock_sk_shutdown: btf.bits("sock.sk_shutdown")?,
        ..Layout::default()
    })
}

/// Adds the tracepoints' records: all `sys_enter_*` are alike, and all `sys_exit_*`.
pub fn records(tracefs: &Path, layout: &mut Layout) -> Result<(), Refusal> {
    layout.enter_args = record_field(tracefs, "sys_enter_close", "fd")?;
    layout.exit_ret = record_field(tracefs, "sys_exit_close", "ret")?;
    Ok(())
}

/// Where a system call's first three arguments are, in `pt_regs`.
pub type Registers = [u32; 3];

/// Finds them.
pub fn registers(vmlinux: &[u8]) -> Result<Registers, Refusal> {
    const X86_64: [&str; 3] = ["pt_regs.di", "pt_regs.si", "pt_regs.dx"];
    if !cfg!(target_arch = "x86_64") {
        return Err(Refusal::missing(
            "find a system call's arguments",
            "not known for this processor",
        ));
    }
    let find = || -> Result<Registers, BtfError> {
        let btf = Btf::parse(vmlinux)?;
        let [first, second, third] = X86_64.map(|field| btf.offset(field));
        Ok([first?, second?, third?])
    };
    find().map_err(|error| Refusal::missing("find a system call's arguments", error))
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
        match vmlinux().and_then(|vmlinux| structures(&vmlinux)) {
            Ok(layout) => assert!(layout.unix_sock_peer > layout.sock_sk_socket, "{layout:?}"),
            Err(refusal) => println!("not run: {refusal}"),
        }
    }
}
