//! Kernel UDP sockets: one a shard (SO_REUSEPORT), received in batches with GRO, sent in trains with GSO.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{PacketBackend, Sent};

/// Most datagrams (or GRO super-packets) taken with one system call.
const RECV_BATCH: usize = 16;
/// A GRO super-packet is at most 64 KiB.
const RECV_LEN_MAX: usize = 65_536;
/// Linux refuses more segments than this in one GSO send (UDP_MAX_SEGMENTS was 64 before 6.9).
const TRAIN_PACKETS_MAX: usize = 64;
/// Largest UDP payload over IPv4, which bounds a GSO send too.
const TRAIN_LEN_MAX: usize = 65_507;
/// Socket buffers asked for. An IDR to a few hundred viewers leaves in one turn.
const SOCKET_BUFFER_LEN: usize = 4 << 20;
/// Control message space: one 2-byte segment size out, one 4-byte segment size in.
const CONTROL_LEN: usize = 64;

/// Makes the socket of one shard. All shards of one engine bind the same address; the port was reserved before.
pub fn bind_shard_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    // The kernel may grant less than asked; the rest of the engine copes with any size.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_LEN);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_LEN);
    never_fragment(&socket, address)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// The `udp` packet backend.
pub struct UdpBackend {
    socket: Socket,
    local: SocketAddr,
    received: Vec<u8>,
    recv_batch: usize,
    frame: Vec<u8>,
    blocked: Option<Train>,
    gso: bool,
}

#[derive(Clone, Copy)]
struct Train {
    to: SocketAddr,
    len: usize,
    segment_len: usize,
}

impl UdpBackend {
    /// Takes over a bound socket and turns GRO on where the kernel has it.
    pub fn new(socket: Socket) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))?;
        set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).ok();
        let gso = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        Ok(Self {
            socket,
            local,
            received: vec![0; RECV_BATCH * RECV_LEN_MAX],
            recv_batch: RECV_BATCH,
            frame: vec![0; TRAIN_LEN_MAX],
            blocked: None,
            gso,
        })
    }

    /// Sends one datagram that does not lie in this backend's frame; what finds no room is lost, as on the way.
    pub(super) fn send_one(&self, datagram: &[u8], to: SocketAddr) -> io::Result<Sent> {
        settled(send_message(&self.socket, datagram, to, datagram.len()))
    }

    fn transmit(&mut self, train: Train) -> io::Result<Sent> {
        let Some(bytes) = self.frame.get(..train.len) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "train longer than the frame"));
        };
        if train.len <= train.segment_len {
            return settled(send_message(&self.socket, bytes, train.to, train.segment_len));
        }
        if self.gso {
            match send_message(&self.socket, bytes, train.to, train.segment_len) {
                Err(error) if refuses_segments(&error) => {
                    tracing::warn!(%error, "the way out takes no segmented datagrams (GSO); packets go out one by one now");
                    self.gso = false;
                }
                sent => return settled(sent),
            }
        }
        for packet in bytes.chunks(train.segment_len) {
            if settled(send_message(&self.socket, packet, train.to, packet.len()))? == Sent::Blocked {
                // Without GSO the rest of this train is lost to a full socket; QUIC sends it again.
                return Ok(Sent::Done);
            }
        }
        Ok(Sent::Done)
    }
}

impl PacketBackend for UdpBackend {
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut batch = RecvBatch::new(&mut self.received);
        let messages = batch.receive(self.socket.as_raw_fd(), self.recv_batch)?;
        let mut datagrams = 0;
        for index in 0..messages {
            let Some((bytes, from, segment_len)) = batch.message(index) else { continue };
            for datagram in bytes.chunks(segment_len.max(1)) {
                datagrams += 1;
                sink(datagram, from);
            }
        }
        Ok(datagrams)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        self.recv_batch = datagrams.clamp(1, RECV_BATCH);
        self.recv_batch
    }

    fn frame(&mut self) -> &mut [u8] {
        &mut self.frame
    }

    fn train_len_max(&self) -> usize {
        TRAIN_LEN_MAX
    }

    fn train_packets_max(&self) -> usize {
        TRAIN_PACKETS_MAX
    }

    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent> {
        let train = Train { to, len, segment_len };
        let sent = self.transmit(train)?;
        if sent == Sent::Blocked {
            self.blocked = Some(train);
        }
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<Sent> {
        let Some(train) = self.blocked.take() else { return Ok(Sent::Done) };
        self.send_train(train.to, train.len, train.segment_len)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// QUIC finds the path's MTU by probes, which must not arrive in pieces; and what ICMP says of it must not count (RFC 9000 §14.2.1).
fn never_fragment(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
        // Of a socket for both families the IPv4 side has a setting of its own, where there is one.
        let _ = set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
        return Ok(());
    }
    set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
}

fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the life of `socket`; the kernel reads exactly `size_of::<c_int>()` bytes of `value`,
    // which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `bytes` as datagrams of `segment_len` with one call.
fn send_message(socket: &Socket, bytes: &[u8], to: SocketAddr, segment_len: usize) -> io::Result<Sent> {
    let address = SockAddr::from(to);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = ControlBuffer([0; CONTROL_LEN]);
    // SAFETY: msghdr is plain data for which all-zero is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if bytes.len() > segment_len {
        let segment = u16::try_from(segment_len)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "GSO segment longer than 65535 bytes"))?;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: `control` is aligned for cmsghdr and CONTROL_LEN is more than CMSG_SPACE(2), so the first header and its
        // 2-byte value lie inside it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
            std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<u16>(), segment);
        }
    }
    // SAFETY: every pointer in `message` refers to a live local; the kernel only reads through them.
    let sent =
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent >= 0 {
        return Ok(Sent::Done);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS) => Ok(Sent::Blocked),
        Some(libc::EINTR) => Ok(Sent::Blocked),
        _ => Err(error),
    }
}

/// Errors that a device without checksum offload or a tunnel gives to a segmented send and to no other.
fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// An ICMP error of an earlier datagram, or a peer whose network is gone, is no error of the socket: QUIC's timers decide about
/// that connection.
fn settled(sent: io::Result<Sent>) -> io::Result<Sent> {
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

/// Control messages hold structures of pointer alignment.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_LEN]);

/// The arrays that one recvmmsg call fills.
struct RecvBatch<'a> {
    buffer: &'a mut [u8],
    names: [MaybeUninit<libc::sockaddr_storage>; RECV_BATCH],
    controls: [ControlBuffer; RECV_BATCH],
    lengths: [(usize, usize); RECV_BATCH],
    name_lengths: [libc::socklen_t; RECV_BATCH],
}

impl<'a> RecvBatch<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            names: [const { MaybeUninit::zeroed() }; RECV_BATCH],
            controls: [const { ControlBuffer([0; CONTROL_LEN]) }; RECV_BATCH],
            lengths: [(0, 0); RECV_BATCH],
            name_lengths: [0; RECV_BATCH],
        }
    }

    /// Takes what waits, at most `most` messages (of RECV_BATCH); 0 when nothing does.
    fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<usize> {
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
        // SAFETY: each of the first `most` headers points at a distinct part of `buffer`, at its own name and its own control space, all alive and
        // exclusively borrowed during the call; their lengths are the true ones.
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
    fn message(&self, index: usize) -> Option<(&[u8], SocketAddr, usize)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn loopback() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    fn recv_all(backend: &mut UdpBackend, wanted: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut got = Vec::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while got.len() < wanted && std::time::Instant::now() < deadline {
            backend.recv(&mut |bytes, from| got.push((bytes.to_vec(), from))).expect("recv");
        }
        got
    }

    #[test]
    fn a_train_arrives_as_its_packets() {
        let mut sender = UdpBackend::new(bind_shard_socket(loopback()).expect("bind")).expect("backend");
        let mut receiver = UdpBackend::new(bind_shard_socket(loopback()).expect("bind")).expect("backend");
        let to = receiver.local_addr();
        let len = 5 * 1200 + 333;
        for (index, byte) in sender.frame()[..len].iter_mut().enumerate() {
            *byte = (index / 1200) as u8;
        }
        assert_eq!(sender.send_train(to, len, 1200).expect("send"), Sent::Done);
        let got = recv_all(&mut receiver, 6);
        let lens: Vec<usize> = got.iter().map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(lens, [1200, 1200, 1200, 1200, 1200, 333]);
        for (index, (bytes, from)) in got.iter().enumerate() {
            assert!(bytes.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(*from, sender.local_addr());
        }
    }

    #[test]
    fn single_datagrams_keep_their_bounds_and_an_empty_queue_is_no_error() {
        let mut receiver = UdpBackend::new(bind_shard_socket(loopback()).expect("bind")).expect("backend");
        assert_eq!(receiver.recv(&mut |_, _| {}).expect("recv"), 0);
        let peer = UdpSocket::bind(loopback()).expect("bind");
        for len in [1usize, 17, 1472] {
            peer.send_to(&vec![7; len], receiver.local_addr()).expect("send");
        }
        let lens: Vec<usize> = recv_all(&mut receiver, 3).iter().map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(lens, [1, 17, 1472]);
    }

    #[test]
    fn a_smaller_batch_takes_so_many_a_call_and_the_rest_with_the_next() {
        let mut receiver = UdpBackend::new(bind_shard_socket(loopback()).expect("bind")).expect("backend");
        assert_eq!([0, 3, usize::MAX].map(|wanted| receiver.set_recv_batch(wanted)), [1, 3, RECV_BATCH]);
        receiver.set_recv_batch(2);
        let peer = UdpSocket::bind(loopback()).expect("bind");
        for _ in 0..5 {
            peer.send_to(b"one", receiver.local_addr()).expect("send");
        }
        let calls: Vec<usize> = (0..4).map(|_| receiver.recv(&mut |_, _| {}).expect("recv")).collect();
        assert_eq!(calls, [2, 2, 1, 0]);
    }

    #[test]
    fn ipv6_senders_are_named_rightly() {
        let Ok(socket) = bind_shard_socket(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else {
            eprintln!("not run: this machine has no IPv6 loopback");
            return;
        };
        let mut receiver = UdpBackend::new(socket).expect("backend");
        let peer = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
        peer.send_to(b"six", receiver.local_addr()).expect("send");
        let got = recv_all(&mut receiver, 1);
        assert_eq!(got[0].1, peer.local_addr().expect("addr"));
    }
}
