//! Datagrams of an edge protocol on a shard's thread, beside the packet backend that carries QUIC.
//!
//! A socket with data must not be given to glommio's stream, which would read some of it: it goes into an epoll set of its own,
//! and that is watched.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use futures_lite::future;

use super::time::sleep_until;
use super::watch::{Watch, set_of};

/// Pause before the next look when there is no descriptor left to wait with.
const BLIND_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket whose task runs on this shard.
pub(crate) struct HostedSocket {
    socket: UdpSocket,
    watch: Watch,
}

impl HostedSocket {
    /// Hosts a socket.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let watch = Watch::new(set_of([&socket])?);
        Ok(Self { socket, watch })
    }

    /// The next datagram that is there already. What a peer's host said of an earlier datagram (a port that is closed) is not one.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        loop {
            match self.socket.recv_from(buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Waits until a datagram is there or `due` has come.
    pub(crate) async fn readable(&self, due: Instant) {
        match self.watch.arm() {
            Ok(()) => future::or(self.watch.ready(), sleep_until(due)).await,
            Err(_) => sleep_until(due.min(Instant::now() + BLIND_PAUSE)).await,
        }
    }

    /// Sends a datagram; one that finds no room is lost, as on the way.
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        match self.socket.send_to(datagram, to) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// The address that peers send to.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::run;

    #[test]
    fn datagrams_are_waited_for_received_once_and_answered() -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let peer = UdpSocket::bind("127.0.0.1:0")?;
        run(async move {
            let hosted = HostedSocket::new(socket)?;
            let mut buffer = [0; 64];
            assert_eq!(hosted.receive(&mut buffer)?, None);
            let before = Instant::now();
            hosted.readable(before + Duration::from_millis(20)).await;
            assert!(before.elapsed() >= Duration::from_millis(20), "nobody sent");
            for round in 0..3u8 {
                peer.send_to(&[round; 9], hosted.local_addr()?)?;
                hosted.readable(Instant::now() + Duration::from_secs(10)).await;
                assert_eq!(hosted.receive(&mut buffer)?, Some((9, peer.local_addr()?)));
                assert_eq!(buffer[..9], [round; 9]);
                assert_eq!(hosted.receive(&mut buffer)?, None);
                hosted.send(b"back", peer.local_addr()?)?;
                assert_eq!(peer.recv_from(&mut buffer)?, (4, hosted.local_addr()?));
            }
            Ok(())
        })
    }
}
