//! A MoQT client of another stack (quiche) on a socket of its own, driven by hand.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use streams_relay_core::client::{Client, ClientConfig, ClientEvent};
use streams_relay_core::wire::Namespace;

use super::target::{Going, Target, udp_from};
use crate::error::BenchError;
use crate::fanout::peer::Peer;

/// Longest datagram that is read.
const DATAGRAM_LEN: usize = 2_048;
/// How long it waits when nothing has come.
const PAUSE: Duration = Duration::from_micros(200);

/// A client that does what it is told.
pub struct Stranger {
    /// Connection and session.
    pub peer: Peer,
    socket: UdpSocket,
    over: bool,
}

impl Stranger {
    /// Begins a handshake. `path` is what SETUP shows; `None` is a connection without a session.
    ///
    /// # Errors
    /// There is no socket.
    pub fn new(
        index: usize,
        target: &Target,
        path: Option<&str>,
        config: &mut quiche::Config,
    ) -> Result<Self, BenchError> {
        let socket = udp_from(index, target.quic)?;
        let address = socket.local_addr().map_err(BenchError::file("read the address of", "a UDP socket".as_ref()))?;
        let session = path.map(|path| ClientConfig {
            path: path.to_owned(),
            authority: target.playback.authority.clone(),
            ..ClientConfig::default()
        });
        let id = (index as u64).to_be_bytes();
        Ok(Self { peer: Peer::new(&id, address, target.quic, config, session)?, socket, over: false })
    }

    /// Whether the server has closed it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Makes a request.
    pub fn ask<R>(&mut self, question: impl FnOnce(&mut Client) -> R) -> Option<R> {
        self.peer.ask(question)
    }

    /// Sends and reads what there is. True when something came.
    pub fn step(&mut self, on_event: &mut dyn FnMut(&mut Client, ClientEvent)) -> bool {
        self.peer.tick();
        let Self { peer, socket, over } = self;
        // A full queue loses packets, as any wire does.
        peer.send(|packet| drop(socket.send(packet)));
        let (mut buffer, mut any) = ([0; DATAGRAM_LEN], false);
        while let Ok(len) = socket.recv(&mut buffer) {
            any = true;
            let packet = buffer.get_mut(..len).unwrap_or_default();
            let taken = peer.take(packet, |client, event| {
                on_event(client, event);
                Ok(())
            });
            *over |= taken.is_err();
        }
        *over |= peer.quic.is_closed();
        any
    }

    /// Goes on for so long, or until the server's close.
    pub fn rest(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while !self.over && Instant::now() < deadline {
            if !self.step(&mut |_, _| ()) {
                pause();
            }
        }
    }

    /// Waits for the namespace that the relay offers to a session that it lets in; `None` when it does not in time.
    pub fn wait_offer(&mut self, time: Duration, going: &Going) -> Option<Namespace> {
        let (deadline, mut offered) = (Instant::now() + time, None);
        while offered.is_none() && !self.over && going.on() && Instant::now() < deadline {
            let came = self.step(&mut |_, event| {
                if let ClientEvent::NamespaceOffered(namespace) = event {
                    offered = Some(namespace);
                }
            });
            if !came {
                pause();
            }
        }
        offered
    }

    /// Reads one datagram; gives its first byte.
    pub fn receive_one(&mut self) -> Option<u8> {
        let mut buffer = [0; DATAGRAM_LEN];
        let len = self.socket.recv(&mut buffer).ok()?;
        let packet = buffer.get_mut(..len)?;
        let first = packet.first().copied();
        self.over |= self.peer.take(packet, |_, _| Ok(())).is_err();
        first
    }

    /// Sends what there is to send.
    pub fn flush(&mut self) {
        let Self { peer, socket, .. } = self;
        peer.send(|packet| drop(socket.send(packet)));
    }
}

/// Waits as long as an idle client does between two looks.
pub fn pause() {
    std::thread::sleep(PAUSE);
}
