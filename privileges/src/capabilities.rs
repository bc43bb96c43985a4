//! Capabilities of this thread and of all that it starts.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::PrivilegesError;

/// Takes every capability away, from the bounding set too where that is allowed, and lets no program that is started later
/// have more rights (`no_new_privs`). Works for any user.
pub fn drop_capabilities() -> Result<(), PrivilegesError> {
    empty_bounding_set()?;
    empty_sets()
}

/// Without CAP_SETPCAP the bounding set stays as it is: what it would allow, `no_new_privs` forbids.
pub(crate) fn empty_bounding_set() -> Result<(), PrivilegesError> {
    for index in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << index)) {
            Ok(()) => {}
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) => break,
            Err(errno) => return Err(PrivilegesError::system("empty the bounding set of capabilities", errno)),
        }
    }
    Ok(())
}

pub(crate) fn empty_sets() -> Result<(), PrivilegesError> {
    clear_ambient_capability_set().map_err(|errno| PrivilegesError::system("clear ambient capabilities", errno))?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|errno| PrivilegesError::system("drop capabilities", errno))?;
    set_no_new_privs(true).map_err(|errno| PrivilegesError::system("set no_new_privs", errno))
}
