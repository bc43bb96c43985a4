//! Kernel UDP sockets of the load: many packets a system call on the way in.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::error::BenchError;

/// Datagrams of one system call, or as many trains of them where the kernel joins what came together (`UDP_GRO`).
const BATCH: usize = 16;
/// Longest such train.
const TRAIN_LEN_MAX: usize = 65_535;
/// Bytes that wait in a socket: a viewer may lag behind by seconds, for what it loses would be the relay's to send again.
const RECEIVE_BUFFER_LEN: usize = 4 << 20;

/// Memory into which a socket is read. One serves all.
pub struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    /// Allocates them.
    pub fn new() -> Self {
        Self(vec![vec![0; TRAIN_LEN_MAX]; BATCH])
    }
}

/// A connected socket that does not block.
pub struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// One on a port of its own, as a viewer has it.
    ///
    /// # Errors
    /// [`BenchError::File`]: the system has none left, or knows no way to the server.
    pub fn connect(server: SocketAddr) -> Result<Self, BenchError> {
        let failed = || BenchError::file("connect", "a UDP socket".as_ref());
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let udp = UdpSocket::bind((any, 0)).map_err(failed())?;
        udp.connect(server).map_err(failed())?;
        // The first needs root; without it the kernel gives what `net.core.rmem_max` allows.
        if set_socket_recv_buffer_size_force(&udp, RECEIVE_BUFFER_LEN).is_err() {
            set_socket_recv_buffer_size(&udp, RECEIVE_BUFFER_LEN).map_err(|error| failed()(error.into()))?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&udp)).map_err(failed())?;
        Ok(Self { udp, state })
    }

    /// The socket itself.
    pub fn udp(&self) -> &UdpSocket {
        &self.udp
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`BenchError::File`].
    pub fn address(&self) -> Result<SocketAddr, BenchError> {
        self.udp.local_addr().map_err(BenchError::file("read the address of", "a UDP socket".as_ref()))
    }

    /// Gives what has come, at most one batch, to `on_packet`. Tells the bytes.
    ///
    /// # Errors
    /// [`BenchError::File`] when the server is gone, and what `on_packet` finds.
    pub fn receive(
        &self,
        buffers: &mut Buffers,
        mut on_packet: impl FnMut(&mut [u8]) -> Result<(), BenchError>,
    ) -> Result<u64, BenchError> {
        let mut metas = [RecvMeta::default(); BATCH];
        let received = {
            let mut slices = buffers.0.iter_mut().map(|buffer| IoSliceMut::new(buffer));
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            self.state.recv(UdpSockRef::from(&self.udp), &mut slices, &mut metas)
        };
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(BenchError::file("read", "a UDP socket".as_ref())(error)),
        };
        let mut bytes = 0;
        for (meta, buffer) in metas.iter().zip(&mut buffers.0).take(received) {
            bytes += meta.len as u64;
            for packet in buffer.get_mut(..meta.len).unwrap_or_default().chunks_mut(meta.stride.max(1)) {
                on_packet(packet)?;
            }
        }
        Ok(bytes)
    }

    /// Sends one packet. One that the kernel does not take is lost, as on any wire.
    pub fn send(&self, packet: &[u8]) {
        let _ = self.udp.send(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_as_they_were_sent_and_then_none() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::connect(server.local_addr().unwrap()).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], socket.address().unwrap().port()));
        let sent: Vec<Vec<u8>> = (1..=5u8).map(|len| vec![len; usize::from(len) * 100]).collect();
        for packet in &sent {
            server.send_to(packet, to).unwrap();
        }
        let (mut buffers, mut got) = (Buffers::new(), Vec::new());
        // Packets on loopback are there when the sender's call returns.
        let mut receive = |got: &mut Vec<Vec<u8>>| {
            socket.receive(&mut buffers, |packet| {
                got.push(packet.to_vec());
                Ok(())
            })
        };
        assert_eq!(receive(&mut got).unwrap(), 1_500);
        assert_eq!(receive(&mut got).unwrap(), 0);
        assert_eq!(got, sent);
    }
}
