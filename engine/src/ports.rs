//! Reserving ports so that a second engine fails instead of stealing packets.
//!
//! SO_REUSEPORT lets any process of the same user bind the same port and take its share of the packets. So before the shards
//! bind with it, the port is bound once without, which fails when anybody has it; and an abstract Unix socket named after
//! address and port is held for the engine's life, which closes the gap between that probe and the shards' sockets.
//!
//! An engine that was killed is gone before its ports are: the kernel takes io_uring instances apart some 30 ms later, and each
//! may hold sockets. Until then such a socket would get its share of the packets, and lose it. So the probe is repeated for a
//! while, and the shards bind when nobody else is left on the port.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::info;

use crate::EngineError;

/// Connections that may wait for accept, a shard.
const TCP_BACKLOG: i32 = 1_024;
/// A port that is in use for longer is not that of an engine that is just going: 30 ms are usual, more beside load.
const GOING_TIME_MAX: Duration = Duration::from_secs(1);
/// How often it is looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A held reservation; dropping it gives the port free.
pub struct Reservation {
    _holder: UnixListener,
}

/// Reserves the UDP port of `[ports] key`.
pub fn reserve_udp(address: SocketAddr, key: &'static str) -> Result<Reservation, EngineError> {
    let holder = hold("udp", address).map_err(|detail| in_use("UDP", address, detail, key))?;
    match when_free("UDP", address, || UdpSocket::bind(address)) {
        Ok(_) => Ok(Reservation { _holder: holder }),
        Err(source) => Err(bind_error("UDP", address, source, key)),
    }
}

/// Reserves a TCP port.
pub fn reserve_tcp(address: SocketAddr) -> Result<Reservation, EngineError> {
    let holder = hold("tcp", address).map_err(|detail| in_use("TCP", address, detail, "rtmp"))?;
    match when_free("TCP", address, || TcpListener::bind(address)) {
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

/// Binds, if need be again and again while a killed engine's socket goes.
fn when_free<T>(
    protocol: &str,
    address: SocketAddr,
    mut bind: impl FnMut() -> std::io::Result<T>,
) -> std::io::Result<T> {
    let began = Instant::now();
    let mut waited = false;
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < GOING_TIME_MAX => {
                if !std::mem::replace(&mut waited, true) {
                    info!(
                        "{protocol} port {address} is still in use, as that of a killed engine is for a moment; waiting"
                    );
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
            bound => {
                if waited && bound.is_ok() {
                    let waited_ms = began.elapsed().as_millis();
                    info!(waited_ms, "{protocol} port {address} is free");
                }
                return bound;
            }
        }
    }
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
    use std::io::{BufRead, BufReader, Write};
    use std::net::Ipv4Addr;
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};

    use crate::backend::bind_shard_socket;

    /// Names the address that the process `a_holder` binds.
    const HOLD: &str = "STREAMS_TEST_HOLD";

    fn free_udp() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        socket.local_addr().expect("address")
    }

    #[test]
    fn a_second_engine_is_refused_and_a_dropped_reservation_is_free() {
        let address = free_udp();
        let first = reserve_udp(address, "quic").expect("free");
        let second = reserve_udp(address, "quic").err().expect("refused").to_string();
        assert!(second.contains("in use") && second.contains("another streams-engine"), "{second}");
        drop(first);
        assert!(reserve_udp(address, "quic").is_ok());
    }

    /// Not a test by itself: a process that another one starts and kills. A ring's own table of files holds its socket.
    #[test]
    fn a_holder() {
        let Ok(address) = std::env::var(HOLD) else { return };
        let socket = bind_shard_socket(address.parse().expect("an address")).expect("bound");
        let ring = io_uring::IoUring::new(8).expect("io_uring");
        ring.submitter().register_files(&[socket.as_raw_fd()]).expect("registered");
        std::io::stdout().write_all(b"\nholds\n").and_then(|()| std::io::stdout().flush()).expect("told");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn the_port_of_a_killed_engine_is_waited_for_and_its_socket_gets_no_packet_any_more() {
        if let Err(error) = io_uring::IoUring::new(8) {
            eprintln!("NOT RUN: the_port_of_a_killed_engine_is_waited_for…: no io_uring here: {error}");
            return;
        }
        let address = free_udp();
        let mut holder = Command::new(std::env::current_exe().expect("a file"))
            .args(["--exact", "ports::tests::a_holder", "--nocapture"])
            .env(HOLD, address.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let told = BufReader::new(holder.stdout.take().expect("piped"));
        assert!(told.lines().map_while(Result::ok).any(|line| line == "holds"), "it holds the port");
        holder.kill().expect("killed");
        holder.wait().expect("gone");
        let _reserved = reserve_udp(address, "quic").expect("free before long");
        let shards = [bind_shard_socket(address).expect("bound"), bind_shard_socket(address).expect("bound")];
        let senders: Vec<UdpSocket> =
            (0..64).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound")).collect();
        for sender in &senders {
            sender.send_to(b"to whom?", address).expect("sent");
        }
        // On loopback a datagram is there when it was sent.
        let got = |shard: &Socket| {
            let shard: UdpSocket = shard.try_clone().expect("cloned").into();
            std::iter::from_fn(|| shard.recv(&mut [0; 16]).ok()).count()
        };
        assert_eq!(shards.iter().map(got).sum::<usize>(), senders.len(), "the dead socket took some");
    }

    #[test]
    fn a_port_that_some_other_process_has_is_refused() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let refused = reserve_udp(socket.local_addr().expect("address"), "quic").err().expect("refused").to_string();
        assert!(refused.contains("another process") && refused.contains("[ports] quic"), "{refused}");
    }
}
