//! The few places where a plain descriptor changes its owner.
//!
//! glommio takes foreign descriptors only by `FromRawFd`, which is unsafe because it trusts the caller to give the descriptor
//! away. Each function here consumes an owned handle, so that the promise is kept by its signature.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// A new eventfd: a counter whose descriptor is readable while it is above zero.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes two integers, touches no memory of ours and returns a new descriptor or -1.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Hosts a TCP connection on this thread's executor.
pub(crate) fn hosted_tcp(socket: TcpStream) -> glommio::net::TcpStream {
    // SAFETY: `into_raw_fd` gives up the only owner, so glommio's socket is the only one to close it.
    unsafe { glommio::net::TcpStream::from_raw_fd(socket.into_raw_fd()) }
}

/// Hosts a TCP listener on this thread's executor.
pub(crate) fn hosted_listener(socket: std::net::TcpListener) -> glommio::net::TcpListener {
    // SAFETY: as in `hosted_tcp`.
    unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// Another handle of a hosted TCP connection, free of the executor.
pub(crate) fn clone_tcp(socket: &glommio::net::TcpStream) -> io::Result<TcpStream> {
    // SAFETY: `socket` owns the descriptor and outlives the borrow, which ends with this function.
    let borrowed = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    Ok(TcpStream::from(borrowed.try_clone_to_owned()?))
}
