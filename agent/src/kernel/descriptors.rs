//! The kernel's map of descriptors, as memory: a thousand of them are read without a system call.

use std::{
    io,
    os::fd::AsFd,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub struct Descriptors {
    cells: *const AtomicU64,
    len: usize,
}

// SAFETY: shared memory that is only read, by atomic loads.
unsafe impl Send for Descriptors {}
// SAFETY: as above.
unsafe impl Sync for Descriptors {}

impl Descriptors {
    /// `map` is an array of `len` u64, made with `BPF_F_MMAPABLE`.
    pub fn map(map: impl AsFd, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let cells = unsafe {
            mmap(
                ptr::null_mut(),
                len * size_of::<u64>(),
                ProtFlags::READ,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        Ok(Self {
            cells: cells.cast(),
            len,
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Those that are connections: descriptor and inode.
    pub fn open(&self) -> impl Iterator<Item = (u32, u64)> {
        // SAFETY: the mapping has this length and lives as long as `self`; it begins at a page's boundary.
        let cells = unsafe { std::slice::from_raw_parts(self.cells, self.len) };
        cells
            .iter()
            .enumerate()
            .filter_map(|(fd, cell)| match cell.load(Ordering::Relaxed) {
                0 => None,
                inode => Some((fd as u32, inode)),
            })
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.cells.cast_mut().cast(), self.len * size_of::<u64>()) };
    }
}
