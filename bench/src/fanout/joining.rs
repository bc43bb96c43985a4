//! A viewer until its subscription is accepted: a real QUIC handshake and a real MoQT session.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use streams_relay_core::client::{ClientConfig, ClientEvent, Join, SubscribeRequest};
use streams_relay_core::relay::FullTrackName;

use super::keys::Keys;
use super::peer::Peer;
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

/// What a viewer watches.
pub struct Watch {
    /// Path and query of the URL.
    pub path: String,
    /// Host and port of the URL.
    pub authority: String,
    /// The track.
    pub track: FullTrackName,
}

/// What the server lets a client send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Bytes of a unidirectional stream.
    pub stream_len: u64,
    /// Bytes of the connection.
    pub connection_len: u64,
    /// Unidirectional streams.
    pub streams: u64,
}

/// A viewer that joins.
pub struct Joining {
    peer: Peer,
    keylog: KeyLog,
    id_len: usize,
    accepted: bool,
}

impl Joining {
    /// Viewer `index` at `address`. With a track to watch, it subscribes to it from the next group on.
    ///
    /// # Errors
    /// [`BenchError::Quic`].
    pub fn new(
        index: usize,
        address: SocketAddr,
        server: SocketAddr,
        config: &mut quiche::Config,
        watch: Option<&Watch>,
    ) -> Result<Self, BenchError> {
        let id = (index as u64).to_be_bytes();
        let session = watch.map(|watch| ClientConfig {
            path: watch.path.clone(),
            authority: watch.authority.clone(),
            ..ClientConfig::default()
        });
        let mut peer = Peer::new(&id, address, server, config, session)?;
        let keylog = KeyLog::default();
        peer.quic.set_keylog(Box::new(keylog.clone()));
        if let Some(Watch { track, .. }) = watch {
            let request = SubscribeRequest { join: Join::NextGroup, ..SubscribeRequest::live(track.clone()) };
            peer.ask(|session| session.subscribe(request));
        }
        Ok(Self { peer, keylog, id_len: id.len(), accepted: watch.is_none() })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.peer.address()
    }

    /// One packet of the server.
    ///
    /// # Errors
    /// The connection ended, or the relay refused the subscription.
    pub fn take(&mut self, packet: &mut [u8]) -> Result<(), BenchError> {
        let accepted = &mut self.accepted;
        self.peer.take(packet, |_, event| match event {
            ClientEvent::Accepted { .. } => {
                *accepted = true;
                Ok(())
            }
            ClientEvent::Refused { .. } => Err(BenchError::Protocol("the relay refused a subscription")),
            _ => Ok(()),
        })
    }

    /// Gives every packet that it has to send to `out`.
    pub fn send(&mut self, out: impl FnMut(&[u8])) {
        self.peer.send(out);
    }

    /// Lets time pass: lost packets are sent again. Tells how long until it has to be called.
    pub fn tick(&mut self) -> Option<Duration> {
        self.peer.tick();
        self.peer.timeout()
    }

    /// The handshake is through, and the subscription accepted.
    pub fn is_done(&self) -> bool {
        self.peer.quic.is_established() && self.accepted
    }

    /// What the server lets it send; `None` before the handshake is through.
    pub fn windows(&self) -> Option<Windows> {
        let parameters = self.peer.quic.peer_transport_params()?;
        Some(Windows {
            stream_len: parameters.initial_max_stream_data_uni,
            connection_len: parameters.initial_max_data,
            streams: parameters.initial_max_streams_uni,
        })
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
            address: self.address(),
            server: keys("SERVER_TRAFFIC_SECRET_0")?,
            client: keys("CLIENT_TRAFFIC_SECRET_0")?,
            server_id: self.peer.quic.destination_id().to_vec(),
            id_len: self.id_len,
        })
    }
}

/// Address of a viewer in memory, and back: every one has an address of its own.
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
