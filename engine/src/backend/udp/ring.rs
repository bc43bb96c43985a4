//! The io_uring by which a shard sends, and why there may be none.
//!
//! It may do one thing, `sendmsg`, and restrictions in the kernel hold it to that: a filter of system calls does not see what a
//! ring is asked for. It is made while the process has its rights, and used by the shard's thread with `io_uring_enter` alone.

use std::fs;
use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode};

/// Trains that may be on their way at once.
pub(super) const TRAINS_MAX: usize = 64;

/// A ring to send by.
pub struct SendRing(pub(super) IoUring);

/// Why io_uring cannot be used here, in words that say what to change.
#[derive(Debug, thiserror::Error)]
#[error("io_uring cannot be had: {source}; {hint}")]
pub struct RingRefused {
    source: io::Error,
    hint: String,
}

impl SendRing {
    /// Makes a ring. Without CAP_IPC_LOCK it counts against the limit of locked memory.
    pub fn open() -> Result<Self, RingRefused> {
        Self::restricted_to(opcode::SendMsg::CODE).map_err(|source| {
            let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            RingRefused { hint: hint(&source, disabled.trim()), source }
        })
    }

    pub(super) fn restricted_to(operation: u8) -> io::Result<Self> {
        // No file of a ring's own table: it would hold the port for some 30 ms after the process was killed. No deferred task
        // work: a send that may not wait ends within the call that submits it.
        let ring = IoUring::builder().setup_r_disabled().build(TRAINS_MAX as u32)?;
        ring.submitter().register_restrictions(&mut [Restriction::sqe_op(operation)])?;
        ring.submitter().register_enable_rings()?;
        Ok(Self(ring))
    }
}

/// `disabled` is the sysctl's value, empty where there is no such sysctl.
fn hint(error: &io::Error, disabled: &str) -> String {
    match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), "1" | "2") => format!(
            "the sysctl kernel.io_uring_disabled is {disabled} (1: only root and kernel.io_uring_group may, 2: nobody)"
        ),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "a policy forbids it: a container's seccomp profile or a security module".into()
        }
        (Some(libc::ENOSYS), _) => "this kernel has none, or a container's seccomp profile hides it".into(),
        (Some(libc::ENOMEM), _) => {
            "locked memory is not enough: raise `ulimit -l` (LimitMEMLOCK= in a unit) to 64 KiB a shard or more".into()
        }
        (Some(libc::EINVAL), _) => "it needs Linux 5.10 or newer, with restrictions of rings".into(),
        _ => "`[engine] udp_io = \"plain\"` does without".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        let words = |errno, disabled| hint(&io::Error::from_raw_os_error(errno), disabled);
        assert!(words(libc::EPERM, "2").contains("kernel.io_uring_disabled is 2"));
        assert!(words(libc::EPERM, "1").contains("kernel.io_uring_group"));
        for disabled in ["0", ""] {
            assert!(words(libc::EPERM, disabled).contains("seccomp"));
        }
        assert!(words(libc::ENOSYS, "0").contains("kernel has none"));
        assert!(words(libc::ENOMEM, "0").contains("ulimit -l"));
        assert!(words(libc::EINVAL, "0").contains("5.10"));
        assert!(words(libc::EMFILE, "0").contains("udp_io"));
    }
}
