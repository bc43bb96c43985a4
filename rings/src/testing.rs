//! Memory for unit tests.

use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::region::Region;

/// Zeroed words of `len` bytes in an unnamed file.
pub(crate) fn scratch(len: u64) -> Region {
    // SAFETY: the name is a C string; the call takes nothing else.
    let descriptor = unsafe { libc::memfd_create(c"rings-test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(len).expect("length");
    let mapping = Mapping::new(&file, usize::try_from(len).expect("fits"), true).expect("mapping");
    Region::whole(Arc::new(mapping))
}
