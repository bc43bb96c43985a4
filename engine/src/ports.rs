//! Reserving ports so that a second engine fails instead of stealing packets.
//!
//! SO_REUSEPORT lets any process of the same user bind the same port and take its share of the packets. So before the shards
//! bind with it, the port is bound once without, which fails when anybody has it; and an abstract Unix socket named after
//! address and port is held for the engine's life, which closes the gap between that probe and the shards' sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::EngineError;

/// Connections that may wait for accept, a shard.
const TCP_BACKLOG: i32 = 1_024;

/// A held reservation; dropping it gives the port free.
pub struct Reservation {
    _holder: UnixListener,
}

/// Reserves a UDP port.
pub fn reserve_udp(address: SocketAddr) -> Result<Reservation, EngineError> {
    let holder = hold("udp", address).map_err(|detail| in_use("UDP", address, detail, "quic"))?;
    match UdpSocket::bind(address) {
        Ok(_) => Ok(Reservation { _holder: holder }),
        Err(source) => Err(bind_error("UDP", address, source, "quic")),
    }
}

/// Reserves a TCP port.
pub fn reserve_tcp(address: SocketAddr) -> Result<Reservation, EngineError> {
    let holder = hold("tcp", address).map_err(|detail| in_use("TCP", address, detail, "rtmp"))?;
    match TcpListener::bind(address) {
        Ok(_) => Ok(Reservation { _holder: holder }),
        Err(source) => Err(bind_error("TCP", address, source, "rtmp")),
    }
}

/// A listener of one shard; all shards of the engine share the port.
pub fn shard_listener(address: SocketAddr) -> Result<TcpListener, EngineError> {
    let make = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_port(true)?;
        // Connections of an engine that was just restarted may still be in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(TCP_BACKLOG)?;
        Ok(socket.into())
    };
    make().map_err(|source| EngineError::Socket { action: "listen for RTMP", address: address.to_string(), source })
}

fn hold(protocol: &str, address: SocketAddr) -> Result<UnixListener, String> {
    let name = format!("streams-engine/{protocol}/{address}");
    let address = UnixAddr::from_abstract_name(name).map_err(|error| error.to_string())?;
    UnixListener::bind_addr(&address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => "another streams-engine holds it".into(),
        _ => error.to_string(),
    })
}

fn bind_error(protocol: &'static str, address: SocketAddr, source: std::io::Error, key: &'static str) -> EngineError {
    match source.kind() {
        ErrorKind::AddrInUse => in_use(protocol, address, "another process has bound it".into(), key),
        _ => EngineError::Socket { action: "bind", address: address.to_string(), source },
    }
}

fn in_use(protocol: &'static str, address: SocketAddr, detail: String, key: &'static str) -> EngineError {
    EngineError::PortInUse { protocol, address: address.to_string(), detail, key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn free_udp() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        socket.local_addr().expect("address")
    }

    #[test]
    fn a_second_engine_is_refused_and_a_dropped_reservation_is_free() {
        let address = free_udp();
        let first = reserve_udp(address).expect("free");
        let second = reserve_udp(address).err().expect("refused").to_string();
        assert!(second.contains("in use") && second.contains("another streams-engine"), "{second}");
        drop(first);
        assert!(reserve_udp(address).is_ok());
    }

    #[test]
    fn a_port_that_some_other_process_has_is_refused() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let refused = reserve_udp(socket.local_addr().expect("address")).err().expect("refused").to_string();
        assert!(refused.contains("another process") && refused.contains("[ports] quic"), "{refused}");
    }
}
