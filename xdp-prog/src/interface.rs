use std::ffi::CString;

use crate::error::XdpError;

/// Index of a network interface in the calling thread's network namespace.
pub(crate) fn index(interface: &str) -> Result<i32, XdpError> {
    let unknown = || XdpError::UnknownInterface { interface: interface.to_owned() };
    let name = CString::new(interface).map_err(|_| unknown())?;
    // SAFETY: `name` is a string that ends in NUL and lives during the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // 0 is no index; the kernel gives out positive numbers of 31 bits.
    i32::try_from(index).ok().filter(|&index| index != 0).ok_or_else(unknown)
}
