//! One MoQT session on one quiche connection, without a socket: what viewers use until they are established, and the publisher
//! always.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quiche::{ConnectionId, RecvInfo, Shutdown};
use streams_relay_core::client::{Client, ClientConfig, ClientEvent};
use streams_relay_core::relay::{Dir, StreamId, Transmit, TransmitError};

use crate::error::BenchError;

/// A read from a stream.
const READ_LEN: usize = 2_048;
/// A packet to be sent; quiche keeps to 1,200 bytes unless told otherwise.
const PACKET_LEN: usize = 1_500;

/// A connection, and the session on it when there is one.
pub struct Peer {
    /// The connection.
    pub quic: quiche::Connection,
    address: SocketAddr,
    server: SocketAddr,
    /// The MoQT session; `None` for a bare connection.
    session: Option<Client>,
    next_uni: u64,
    next_bidi: u64,
}

impl Peer {
    /// A client at `address` with the connection id `id`.
    ///
    /// # Errors
    /// [`BenchError::Quic`].
    pub fn new(
        id: &[u8],
        address: SocketAddr,
        server: SocketAddr,
        config: &mut quiche::Config,
        session: Option<ClientConfig>,
    ) -> Result<Self, BenchError> {
        let quic = quiche::connect(None, &ConnectionId::from_ref(id), address, server, config)?;
        // RFC 9000 §2.1: a client's bidirectional streams are 0 mod 4, its unidirectional ones 2 mod 4.
        let (next_uni, next_bidi) = (2, 0);
        Ok(Self { quic, address, server, session: session.map(Client::new), next_uni, next_bidi })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a request; `None` without a session.
    pub fn ask<R>(&mut self, question: impl FnOnce(&mut Client) -> R) -> Option<R> {
        self.session.as_mut().map(question)
    }

    /// One packet of the server; gives what the session tells then to `on_event`, with the session for answers.
    ///
    /// # Errors
    /// The connection or the session ended, and what `on_event` finds wrong.
    pub fn take(
        &mut self,
        packet: &mut [u8],
        mut on_event: impl FnMut(&mut Client, ClientEvent) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        // What cannot be decrypted is dropped by quiche and shows as a handshake that never ends.
        let _ = self.quic.recv(packet, RecvInfo { from: self.server, to: self.address });
        if self.quic.is_closed() || self.quic.peer_error().is_some() {
            return Err(BenchError::Protocol("the server closed a connection"));
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let (now, mut buffer) = (Instant::now(), [0; READ_LEN]);
        for id in self.quic.readable() {
            let dir = if id & 2 == 0 { Dir::Bidi } else { Dir::Uni };
            loop {
                match self.quic.stream_recv(id, &mut buffer) {
                    Ok((len, fin)) => {
                        session.stream_data(now, StreamId(id), dir, buffer.get(..len).unwrap_or_default(), fin);
                    }
                    Err(quiche::Error::StreamReset(code)) => {
                        session.stream_reset(now, StreamId(id), code);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        while let Some(event) = session.poll_event() {
            if let ClientEvent::Closed { .. } = event {
                return Err(BenchError::Protocol("the relay closed a session"));
            }
            on_event(session, event)?;
        }
        Ok(())
    }

    /// Gives every packet that it has to send to `out`.
    pub fn send(&mut self, mut out: impl FnMut(&[u8])) {
        if self.quic.is_established()
            && let Some(session) = &mut self.session
        {
            let mut io = Streams { quic: &mut self.quic, next_uni: &mut self.next_uni, next_bidi: &mut self.next_bidi };
            session.pump(Instant::now(), &mut io);
        }
        let mut packet = [0; PACKET_LEN];
        while let Ok((len, _)) = self.quic.send(&mut packet) {
            out(packet.get(..len).unwrap_or_default());
        }
    }

    /// How long until [`Peer::tick`] has something to do.
    pub fn timeout(&self) -> Option<Duration> {
        self.quic.timeout()
    }

    /// Lets time pass: lost packets are sent again.
    pub fn tick(&mut self) {
        if self.quic.timeout().is_some_and(|left| left.is_zero()) {
            self.quic.on_timeout();
        }
    }
}

/// A session's way into its connection.
struct Streams<'a> {
    quic: &'a mut quiche::Connection,
    next_uni: &'a mut u64,
    next_bidi: &'a mut u64,
}

fn taken(result: quiche::Result<usize>) -> Result<usize, TransmitError> {
    match result {
        Ok(taken) => Ok(taken),
        Err(quiche::Error::Done) => Ok(0),
        Err(quiche::Error::StreamStopped(code)) => Err(TransmitError::Stopped(code)),
        Err(_) => Err(TransmitError::Closed),
    }
}

impl Transmit for Streams<'_> {
    fn open_uni(&mut self) -> Option<StreamId> {
        let id = (self.quic.peer_streams_left_uni() > 0).then_some(*self.next_uni)?;
        *self.next_uni += 4;
        Some(StreamId(id))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        let id = (self.quic.peer_streams_left_bidi() > 0).then_some(*self.next_bidi)?;
        *self.next_bidi += 4;
        Some(StreamId(id))
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        taken(self.quic.stream_send(stream.0, data, fin))
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.write(stream, data, fin)
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, stream: StreamId, code: u64) {
        // A stream that is gone needs no reset.
        let _ = self.quic.stream_shutdown(stream.0, Shutdown::Write, code);
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        // As above.
        let _ = self.quic.stream_shutdown(stream.0, Shutdown::Read, code);
    }

    fn close(&mut self, code: u64, reason: &str) {
        // Closing twice is the only error, and the first close stands.
        let _ = self.quic.close(true, code, reason.as_bytes());
    }
}
