//! Busy polling: the shard has the driver look at its queue whenever it calls, and the queue's interrupts stay off meanwhile
//! (Linux `Documentation/networking/napi.rst`, section "Busy polling").
//!
//! The kernel lets nobody without CAP_NET_ADMIN switch it on, so it is done at the start, before rights are given up.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How the driver is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// SO_BUSY_POLL: how long a call that waits looks on, 1 to 10,000 microseconds. The shard's calls do not wait; the kernel
    /// only asks that it is not 0.
    pub microseconds: u32,
    /// SO_BUSY_POLL_BUDGET: packets a call, 1 to 64.
    pub budget: u32,
}

impl BusyPoll {
    /// Has the kernel do so on a socket. On failure the queue is driven by interrupts as before.
    pub(super) fn switch_on(self, socket: impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd();
        set(socket, libc::SO_BUSY_POLL, self.microseconds)?;
        set(socket, libc::SO_BUSY_POLL_BUDGET, self.budget)?;
        // The last one switches it on, so that there is no half of it.
        set(socket, libc::SO_PREFER_BUSY_POLL, 1)
    }
}

fn set(socket: impl AsFd, option: libc::c_int, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of `value`, which the kernel reads during the call only.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_told_and_what_it_takes_is_set() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = BusyPoll { microseconds: u32::MAX, budget: 64 }.switch_on(&socket).unwrap_err();
        assert_eq!(error.raw_os_error(), None, "a number that no c_int holds: {error}");
        match (BusyPoll { microseconds: 20, budget: 64 }).switch_on(&socket) {
            Ok(()) => {}
            // Without CAP_NET_ADMIN, or on a kernel without busy polling.
            Err(error) => assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOPROTOOPT)), "{error}"),
        }
    }
}
