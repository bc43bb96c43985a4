//! Receiving: up to a batch of datagrams, or of GRO super-packets, with one system call.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use super::message::{CONTROL_LEN, ControlBuffer};

/// Most datagrams (or GRO super-packets) taken with one system call.
pub(super) const RECV_BATCH: usize = 16;
/// A GRO super-packet is at most 64 KiB.
pub(super) const RECV_LEN_MAX: usize = 65_536;

/// The arrays that one recvmmsg call fills.
pub(super) struct RecvBatch<'a> {
    buffer: &'a mut [u8],
    names: [MaybeUninit<libc::sockaddr_storage>; RECV_BATCH],
    controls: [ControlBuffer; RECV_BATCH],
    lengths: [(usize, usize); RECV_BATCH],
    name_lengths: [libc::socklen_t; RECV_BATCH],
}

impl<'a> RecvBatch<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            names: [const { MaybeUninit::zeroed() }; RECV_BATCH],
            controls: [const { ControlBuffer([0; CONTROL_LEN]) }; RECV_BATCH],
            lengths: [(0, 0); RECV_BATCH],
            name_lengths: [0; RECV_BATCH],
        }
    }

    /// Takes what waits, at most `most` messages (of RECV_BATCH); 0 when nothing does.
    pub(super) fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<usize> {
        let mut parts: [libc::iovec; RECV_BATCH] =
            std::array::from_fn(|_| libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 });
        // SAFETY: mmsghdr is plain data for which all-zero is a valid value.
        let mut headers: [libc::mmsghdr; RECV_BATCH] = unsafe { zeroed() };
        let most = most.min(RECV_BATCH);
        for (index, chunk) in self.buffer.chunks_exact_mut(RECV_LEN_MAX).take(most).enumerate() {
            parts[index] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
            let header = &mut headers[index].msg_hdr;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
            header.msg_name = self.names[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: each of the first `most` headers points at a distinct part of `buffer`, at its own name and its own
        // control space, all alive and exclusively borrowed during the call; their lengths are the true ones.
        let count =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), most as u32, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
                _ => Err(error),
            };
        };
        for (index, header) in headers.iter().take(count).enumerate() {
            let len = header.msg_len as usize;
            // SAFETY: the kernel filled this header; its control pointer and length describe `controls[index]`.
            let segment_len = unsafe { gro_segment_len(&header.msg_hdr) }.unwrap_or(len);
            self.lengths[index] = (len, segment_len);
            self.name_lengths[index] = header.msg_hdr.msg_namelen;
        }
        Ok(count)
    }

    /// Bytes, sender and segment length of message `index` of the last receive.
    pub(super) fn message(&self, index: usize) -> Option<(&[u8], SocketAddr, usize)> {
        let (len, segment_len) = *self.lengths.get(index)?;
        let bytes = self.buffer.chunks_exact(RECV_LEN_MAX).nth(index)?.get(..len)?;
        let name_len = *self.name_lengths.get(index)? as usize;
        // SAFETY: `names` starts zeroed and the kernel writes a socket address into it, so every byte is initialised.
        let name = unsafe { self.names.get(index)?.assume_init_ref() };
        Some((bytes, socket_address(name, name_len)?, segment_len))
    }
}

/// The segment size that GRO reports, when this message is a super-packet.
///
/// # Safety
/// `header` must have been filled by a successful receive, with its control buffer still alive.
unsafe fn gro_segment_len(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: by the caller's promise the control buffer is valid for msg_controllen bytes, which is all that the CMSG
    // functions look at; the value is read unaligned and has 4 bytes by the kernel's definition of UDP_GRO.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == libc::UDP_GRO {
                let size = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::c_int>());
                return usize::try_from(size).ok().filter(|size| *size > 0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

fn socket_address(name: &libc::sockaddr_storage, len: usize) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says sockaddr_in, sockaddr_storage is at least as large and as aligned, and any bit pattern is valid.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}
