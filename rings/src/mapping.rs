//! A file mapped into memory for as long as anybody holds a handle into it.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// Owner of one `mmap`; unmapped on drop.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping is plain memory with no thread affinity; all access to it goes through `Region`, which hands out
// atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives an address and a length, never a reference into the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes (> 0) of `file`, shared. The caller has checked that the file is at least that long.
    pub(crate) fn new(file: &File, len: usize, writable: bool) -> Result<Mapping> {
        // A writer's pages are made present now: a page fault costs more than a hundred frags. A reader (the monitor)
        // pays as it looks.
        let (protection, flags) = match writable {
            true => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE),
            false => (libc::PROT_READ, libc::MAP_SHARED),
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours; the descriptor is open.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let base =
            NonNull::new(address.cast()).ok_or_else(|| Error::other("the kernel mapped the file at address 0"))?;
        Ok(Mapping { base, len, writable })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn writable(&self) -> bool {
        self.writable
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of the mmap in `new`; every `Region` into it holds an Arc of this, so none is left.
        // Failure is impossible for a range that is mapped, and there would be nothing to do about it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
