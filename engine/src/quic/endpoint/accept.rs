//! Who is let in: first Initials, Retry above a number of half-open handshakes, limits.
//!
//! ```text
//!   Initial -> connections left? -> token ours? -- expired, moved --> INVALID_TOKEN
//!                                     | none                  | good
//!                              many half open? -- yes --> Retry
//!                                     | no                    |
//!                                     +-----> quiche takes the packet: genuine? -- no --> dropped
//!                                                             | yes
//!                                                     TLS takes it? -- no --> CONNECTION_CLOSE
//!                                                             | yes
//!                              connection; beyond a bound the oldest half-open one goes
//! ```
//!
//! Nothing is kept of an Initial before the last step.

use std::time::{Duration, Instant};

use quiche::{Header, RecvInfo, RetryConnectionIds, Type};
use streams_relay_core::relay::SessionId;

use super::half_open::Share;
use super::visits::Mark;
use super::{Endpoint, INDEX_BITS, free_frame, index_of};
use crate::EngineError;
use crate::backend::PacketBackend;
use crate::quic::config::send_payload_len_max;
use crate::quic::connection::Connection;
use crate::quic::initial::{INVALID_TOKEN, refuse};
use crate::quic::retry::Checked;
use crate::quic::{Arrival, Quic};

/// RFC 9000 §14.1: a first datagram is at least so long; answering shorter ones would amplify.
const FIRST_DATAGRAM_LEN_MIN: usize = 1200;
/// RFC 9000 §17.2, of version 1.
const ID_LEN_MAX: usize = 20;
/// RFC 9001 §4.8 with the alert of RFC 7301 §3.2.
const NO_APPLICATION_PROTOCOL: u64 = 0x178;
/// One address that was proven may hold so small a part of all half-open handshakes.
const SHARES: usize = 8;
/// How long a first packet that was not genuine counts like a half-open handshake.
const FALSE_START_WINDOW: Duration = Duration::from_secs(1);

/// First packets that turned out not to be genuine. Each costs a TLS state for a moment, some 50 times what a Retry does, so
/// a flood of them has to bring up Retry as a flood of handshakes does.
#[derive(Debug, Default)]
pub(super) struct FalseStarts {
    window: Option<Instant>,
    count: usize,
}

impl FalseStarts {
    fn count(&mut self, now: Instant) {
        if self.recent(now) == 0 {
            (self.window, self.count) = (Some(now), 0);
        }
        self.count += 1;
    }

    /// Those of the window that is open, 0 when the last one has passed.
    fn recent(&self, now: Instant) -> usize {
        let open = self.window.is_some_and(|window| now.saturating_duration_since(window) < FALSE_START_WINDOW);
        if open { self.count } else { 0 }
    }
}

/// Why a first packet that is genuine made no connection: the error of the transport, and words for a person. `None`: it was not
/// genuine, as quiche found no key to open it, or no packet in it.
fn refusal(quic: &Quic, taken: quiche::Result<usize>) -> Option<(u64, &'static str)> {
    use quiche::Error::{BufferTooShort, CryptoFail, Done, InvalidPacket, UnknownVersion};
    if matches!(taken, Ok(_) | Err(BufferTooShort | CryptoFail | Done | InvalidPacket | UnknownVersion)) {
        return None;
    }
    let code = quic.local_error()?.error_code;
    Some((code, if code == NO_APPLICATION_PROTOCOL { "this server speaks moqt-18 and h3" } else { "" }))
}

/// Answers an Initial that makes no connection.
fn tell(header: &Header<'_>, code: u64, reason: &str, arrival: Arrival, backend: &mut dyn PacketBackend) {
    let Some(frame) = free_frame(backend, arrival.from) else { return };
    if let Some(len) = refuse(header, code, reason, frame) {
        // Lost like any other packet: the client sends its Initial again.
        let _ = backend.send_train(arrival.from, len, len);
    }
}

impl Endpoint {
    /// A long header that no connection knows. Gives the connection that its first packet made; quiche has taken that packet.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        header: &Header<'_>,
        datagram: &mut [u8],
        arrival: Arrival,
        backend: &mut dyn PacketBackend,
    ) -> Option<usize> {
        if matches!(header.ty, Type::Short | Type::VersionNegotiation) || datagram.len() < FIRST_DATAGRAM_LEN_MIN {
            self.stats.junk += 1;
            return None;
        }
        if !quiche::version_is_supported(header.version) {
            let frame = free_frame(backend, arrival.from)?;
            if let Ok(len) = quiche::negotiate_version(&header.scid, &header.dcid, frame) {
                let _ = backend.send_train(arrival.from, len, len);
            }
            return None;
        }
        if header.ty != Type::Initial || header.dcid.len().max(header.scid.len()) > ID_LEN_MAX {
            self.stats.junk += 1;
            return None;
        }
        if self.connections() >= self.limits.connections_max {
            self.stats.refused += 1;
            return None;
        }
        let token = header.token.as_deref().unwrap_or_default();
        let original = match self.tokens.check(self.unix_ms(now), token, arrival.from, &header.dcid) {
            Checked::Valid(original) => Some(original),
            Checked::Refused => {
                // RFC 9000 §8.1.3: a client whose Retry token is refused accepts no second one, so it is told.
                self.stats.tokens_refused += 1;
                tell(header, INVALID_TOKEN, "", arrival, backend);
                return None;
            }
            Checked::Foreign if self.wants_retry(now) => {
                self.send_retry(now, header, arrival, backend);
                return None;
            }
            Checked::Foreign => None,
        };
        let made = self.connect(now, header, original.as_ref(), datagram, arrival, backend);
        made.inspect_err(|_| self.stats.refused += 1).ok()?
    }

    fn wants_retry(&self, now: Instant) -> bool {
        let suspect = self.half_open.len().saturating_add(self.false_starts.recent(now));
        // A client that speaks another protocol is no attack. A thousand a second are.
        suspect >= self.limits.retry_half_open_min.min(self.limits.half_open_max)
            || self.refusals.recent(now) >= self.limits.half_open_max
    }

    /// Asks the client to prove its address. The Retry's id is one of this shard, so what answers it is brought here.
    fn send_retry(&mut self, now: Instant, header: &Header<'_>, arrival: Arrival, backend: &mut dyn PacketBackend) {
        let Ok(id) = self.ids.issue(self.shard) else { return };
        let token = self.tokens.mint(self.unix_ms(now), arrival.from, &header.dcid, &id);
        let Some(frame) = free_frame(backend, arrival.from) else { return };
        let written = quiche::retry(&header.scid, &header.dcid, &id, &token, header.version, frame);
        if let Ok(len) = written
            && backend.send_train(arrival.from, len, len).is_ok()
        {
            self.stats.retries += 1;
        }
    }

    /// `None`: the packet is not genuine, or TLS refused it. `original` is what the client first wrote to, before a Retry.
    fn connect(
        &mut self,
        now: Instant,
        header: &Header<'_>,
        original: Option<&quiche::ConnectionId<'static>>,
        datagram: &mut [u8],
        arrival: Arrival,
        backend: &mut dyn PacketBackend,
    ) -> Result<Option<usize>, EngineError> {
        let id = self.ids.issue(self.shard)?;
        self.config.set_stateless_reset_token(Some(self.ids.reset_token(&id)));
        let (local, peer) = (arrival.to, arrival.from);
        self.config.set_max_send_udp_payload_size(send_payload_len_max(peer.ip()));
        let mut quic: Quic = match original {
            Some(original) => {
                let ids = RetryConnectionIds { original_destination_cid: original, retry_source_cid: &header.dcid };
                quiche::accept_with_retry(&id, ids, local, peer, &mut self.config)?
            }
            None => quiche::accept_with_buf_factory(&id, None, local, peer, &mut self.config)?,
        };
        let len = datagram.len();
        let taken = quic.recv(datagram, RecvInfo { from: peer, to: local });
        if quic.stats().recv == 0 {
            match refusal(&quic, taken) {
                Some((code, reason)) => {
                    self.stats.handshakes_failed += 1;
                    self.refusals.count(now);
                    tell(header, code, reason, arrival, backend);
                }
                // RFC 9000 §5.2.2: what cannot be authenticated is dropped, and answers nobody.
                None => {
                    self.stats.junk += 1;
                    self.false_starts.count(now);
                }
            }
            return Ok(None);
        }
        let proven = original.map(|_| Share::of(peer.ip()));
        let share_max = (self.limits.half_open_max / SHARES).max(1);
        if let Some(oldest) = self.half_open.in_the_way(proven, share_max, self.limits.half_open_max.max(1)) {
            self.forget(index_of(oldest));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.marks.push(Mark::default());
            self.slots.len() - 1
        });
        self.sessions_made += 1;
        let session = SessionId(u64::from(self.shard) << 56 | self.sessions_made << INDEX_BITS | index as u64);
        // Until the client has seen our id it goes on using the one that it wrote to.
        let first = header.dcid.clone().into_owned();
        self.by_id.insert(first.clone(), index);
        self.by_id.insert(id.clone(), index);
        let deadline = now + self.limits.handshake_timeout;
        let mut connection = Connection::new(quic, session, peer, vec![first, id], deadline);
        connection.spend_handshake(len);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(Box::new(connection));
        }
        self.half_open.insert(session, proven);
        self.stats.accepted += 1;
        Ok(Some(index))
    }
}
