//! What one send tells the kernel: the packets, where they go, how long each is.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;

use socket2::SockAddr;

use super::Sent;

/// Control message space: one 2-byte segment size out, one 4-byte segment size in.
pub(super) const CONTROL_LEN: usize = 64;

/// Control messages hold structures of pointer alignment.
#[repr(C, align(8))]
pub(super) struct ControlBuffer(pub(super) [u8; CONTROL_LEN]);

/// Packets of equal length to one peer; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Train {
    pub(super) to: SocketAddr,
    pub(super) len: usize,
    pub(super) segment_len: usize,
}

impl Train {
    /// More than one packet, which takes a segmented send.
    pub(super) fn is_segmented(&self) -> bool {
        self.len > self.segment_len
    }
}

/// A `msghdr` with all that it points at, but for the packets themselves. It points into itself: whoever hands
/// [`Message::header`] to the kernel keeps the message in its place until the kernel has read it.
pub(super) struct Message {
    header: libc::msghdr,
    part: libc::iovec,
    name: SockAddr,
    control: ControlBuffer,
}

impl Message {
    /// One that says nothing yet.
    pub(super) fn empty() -> Self {
        Self {
            // SAFETY: msghdr is plain data for which all-zero is a valid value.
            header: unsafe { zeroed() },
            part: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            name: SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))),
            control: ControlBuffer([0; CONTROL_LEN]),
        }
    }

    /// Tells of `bytes` as datagrams of `segment_len` to `to`.
    pub(super) fn set(&mut self, bytes: &[u8], to: SocketAddr, segment_len: usize) -> io::Result<()> {
        self.name = SockAddr::from(to);
        self.part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.header.msg_name = self.name.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.name.len();
        self.header.msg_iov = &raw mut self.part;
        self.header.msg_iovlen = 1;
        self.header.msg_control = std::ptr::null_mut();
        self.header.msg_controllen = 0;
        if bytes.len() <= segment_len {
            return Ok(());
        }
        let segment = u16::try_from(segment_len)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "GSO segment longer than 65535 bytes"))?;
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        // SAFETY: `control` is aligned for cmsghdr and CONTROL_LEN is more than CMSG_SPACE(2), so the first header and its
        // 2-byte value lie inside it.
        unsafe {
            self.header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const self.header);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
            std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<u16>(), segment);
        }
        Ok(())
    }

    /// For the kernel, which only reads through it.
    pub(super) fn header(&self) -> *const libc::msghdr {
        &raw const self.header
    }
}

/// What the kernel said to a send: a full way is no error.
pub(super) fn sent(result: io::Result<()>) -> io::Result<Sent> {
    match result {
        Ok(()) => Ok(Sent::Done),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => Ok(Sent::Blocked),
            _ => Err(error),
        },
    }
}

/// Errors that a device without checksum offload or a tunnel gives to a segmented send and to no other.
pub(super) fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// An ICMP error of an earlier datagram, or a peer whose network is gone, is no error of the socket: QUIC's timers decide about
/// that connection.
pub(super) fn settled(sent: io::Result<Sent>) -> io::Result<Sent> {
    match sent {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(
                    libc::ECONNREFUSED
                        | libc::EHOSTUNREACH
                        | libc::ENETUNREACH
                        | libc::EPERM
                        | libc::EMSGSIZE
                        | libc::EINVAL
                )
            ) =>
        {
            Ok(Sent::Done)
        }
        sent => sent,
    }
}
