//! The socket of one shard: bound beside the others, its buffers and options.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Socket buffers asked for. An IDR to a few hundred viewers leaves in one turn.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

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

pub(super) fn set_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
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
