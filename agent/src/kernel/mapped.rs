//! An array of the kernel's as memory of ours: a thousand values are read without a system call.

use std::{io, marker::PhantomData, os::fd::AsFd, ptr};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub struct Mapped<T> {
    values: *const T,
    len: usize,
    kind: PhantomData<T>,
}

// SAFETY: memory that only the kernel writes to.
unsafe impl<T: Pod> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// The kernel rounds the values of an array up to this, and so they must be.
    const ALIGNED: () = assert!(size_of::<T>().is_multiple_of(8));

    /// `map` is an array of `len` such values, made with `BPF_F_MMAPABLE`.
    pub fn new(map: impl AsFd, len: usize) -> io::Result<Self> {
        const { Self::ALIGNED };
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let values = unsafe {
            mmap(
                ptr::null_mut(),
                len * size_of::<T>(),
                ProtFlags::READ,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        Ok(Self {
            values: values.cast(),
            len,
            kind: PhantomData,
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, index: usize) -> Option<T> {
        // SAFETY: within the mapping, which is aligned to a page. Volatile, as the kernel writes when it likes: a value of
        // 8 bytes comes whole; a larger one only while no program writes to it.
        (index < self.len).then(|| unsafe { self.values.add(index).read_volatile() })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; values are only ever copied out.
        let _ = unsafe { munmap(self.values.cast_mut().cast(), self.len * size_of::<T>()) };
    }
}
