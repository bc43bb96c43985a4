//! A viewer until its subscription is accepted: a real QUIC handshake and a real MoQT session, in memory.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use quiche::{ConnectionId, RecvInfo, Shutdown};
use streams_relay_core::client::{Client, ClientConfig, ClientEvent, Join, SubscribeRequest};
use streams_relay_core::relay::{Dir, FullTrackName, StreamId, Transmit, TransmitError};

use super::keys::Keys;
use super::receiver::Established;
use crate::error::BenchError;

/// No viewer ever has to raise a window: its later life knows no such frames.
const WINDOW: u64 = 1 << 60;
const STREAMS_UNI: u64 = 1 << 59;
const STREAMS_BIDI: u64 = 100;
/// Datagrams that wait; MoQT negotiates them and nobody sends any.
const DATAGRAMS: usize = 16;

/// What a viewer's TLS tells of its secrets, in the format of SSLKEYLOGFILE.
#[derive(Debug, Clone, Default)]
struct KeyLog(Arc<Mutex<Vec<u8>>>);

impl Write for KeyLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl KeyLog {
    fn keys(&self, label: &str) -> Option<Keys> {
        let text = String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).ok()?;
        let secret = text.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().nth(1))?;
        let pairs = (0..secret.len() / 2).map(|at| u8::from_str_radix(secret.get(2 * at..2 * at + 2)?, 16).ok());
        Keys::from_secret(&pairs.collect::<Option<Vec<u8>>>()?)
    }
}

/// The settings of every viewer's QUIC.
///
/// # Errors
/// [`BenchError::Quic`] when quiche takes one of them for wrong.
pub fn client_config() -> Result<quiche::Config, BenchError> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.verify_peer(false);
    config.set_application_protos(&[b"moqt-18"])?;
    config.log_keys();
    config.set_initial_max_data(WINDOW);
    config.set_initial_max_stream_data_uni(WINDOW);
    config.set_initial_max_stream_data_bidi_local(1 << 20);
    config.set_initial_max_stream_data_bidi_remote(1 << 20);
    config.set_initial_max_streams_uni(STREAMS_UNI);
    config.set_initial_max_streams_bidi(STREAMS_BIDI);
    config.set_max_recv_udp_payload_size(0);
    config.set_max_ack_delay(0);
    config.enable_dgram(true, DATAGRAMS, DATAGRAMS);
    Ok(config)
}

/// A viewer that joins.
pub struct Joining {
    quic: quiche::Connection,
    keylog: KeyLog,
    address: SocketAddr,
    server: SocketAddr,
    id_len: usize,
    /// The MoQT session; `None` for a bare connection.
    session: Option<Client>,
    accepted: bool,
    next_uni: u64,
    next_bidi: u64,
}

impl Joining {
    /// Viewer `index` of `server`. With a `track` it subscribes to it from the next group on.
    ///
    /// # Errors
    /// [`BenchError::Quic`].
    pub fn new(
        index: usize,
        server: SocketAddr,
        config: &mut quiche::Config,
        track: Option<&FullTrackName>,
    ) -> Result<Self, BenchError> {
        let id = (index as u64).to_be_bytes();
        let address = address(index);
        let mut quic = quiche::connect(None, &ConnectionId::from_ref(&id), address, server, config)?;
        let keylog = KeyLog::default();
        quic.set_keylog(Box::new(keylog.clone()));
        let session = track.map(|track| {
            let mut client = Client::new(ClientConfig { path: "/bench".into(), ..ClientConfig::default() });
            client.subscribe(SubscribeRequest { join: Join::NextGroup, ..SubscribeRequest::live(track.clone()) });
            client
        });
        let accepted = session.is_none();
        // RFC 9000 §2.1: a client's bidirectional streams are 0 mod 4, its unidirectional ones 2 mod 4.
        let (next_uni, next_bidi) = (2, 0);
        Ok(Self { quic, keylog, address, server, id_len: id.len(), session, accepted, next_uni, next_bidi })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One packet of the server.
    ///
    /// # Errors
    /// The connection ended, or the relay refused the subscription.
    pub fn take(&mut self, packet: &mut [u8]) -> Result<(), BenchError> {
        // What cannot be decrypted is dropped by quiche and shows as a handshake that never ends.
        let _ = self.quic.recv(packet, RecvInfo { from: self.server, to: self.address });
        if self.quic.is_closed() || self.quic.peer_error().is_some() {
            return Err(BenchError::Protocol("the server closed a viewer's connection"));
        }
        self.read()
    }

    fn read(&mut self) -> Result<(), BenchError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let (now, mut buffer) = (Instant::now(), [0; 2_048]);
        for id in self.quic.readable() {
            let dir = if id & 2 == 0 { Dir::Bidi } else { Dir::Uni };
            while let Ok((len, fin)) = self.quic.stream_recv(id, &mut buffer) {
                session.stream_data(now, StreamId(id), dir, buffer.get(..len).unwrap_or_default(), fin);
            }
        }
        while let Some(event) = session.poll_event() {
            match event {
                ClientEvent::Accepted { .. } => self.accepted = true,
                ClientEvent::Refused { .. } => return Err(BenchError::Protocol("the relay refused a subscription")),
                ClientEvent::Closed { .. } => return Err(BenchError::Protocol("the relay closed a session")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives every packet that it has to send to `out`.
    pub fn send(&mut self, mut out: impl FnMut(SocketAddr, &[u8])) {
        if self.quic.is_established()
            && let Some(session) = &mut self.session
        {
            let mut io = Streams { quic: &mut self.quic, next_uni: &mut self.next_uni, next_bidi: &mut self.next_bidi };
            session.pump(Instant::now(), &mut io);
        }
        let mut packet = [0; 1_500];
        while let Ok((len, _)) = self.quic.send(&mut packet) {
            out(self.address, packet.get(..len).unwrap_or_default());
        }
    }

    /// The handshake is through, and the subscription accepted.
    pub fn is_done(&self) -> bool {
        self.quic.is_established() && self.accepted
    }

    /// What a receiver without QUIC library goes on with.
    ///
    /// # Errors
    /// The handshake did not end in AES-128-GCM.
    pub fn establish(self) -> Result<Established, BenchError> {
        let keys = |label| {
            self.keylog.keys(label).ok_or(BenchError::Protocol("a handshake left no keys for TLS_AES_128_GCM_SHA256"))
        };
        Ok(Established {
            address: self.address,
            server: keys("SERVER_TRAFFIC_SECRET_0")?,
            client: keys("CLIENT_TRAFFIC_SECRET_0")?,
            server_id: self.quic.destination_id().to_vec(),
            id_len: self.id_len,
        })
    }
}

/// Address of a viewer, and back: every one has an address of its own.
pub fn address(index: usize) -> SocketAddr {
    let [_, a, b, c] = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
    SocketAddr::from(([10, a, b, c], 4_000))
}

/// The viewer at an address of [`address`].
pub fn index_at(address: SocketAddr) -> Option<usize> {
    let SocketAddr::V4(address) = address else { return None };
    let [_, a, b, c] = address.ip().octets();
    usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_viewer_has_an_address_of_its_own() {
        for index in [0, 1, 255, 256, 65_536, 1_000_000] {
            assert_eq!(index_at(address(index)), Some(index));
        }
        assert_ne!(address(1), address(256));
    }
}
