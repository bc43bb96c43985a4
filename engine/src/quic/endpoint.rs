//! All QUIC connections of one shard: who gets a datagram. Who is let in: [`accept`]; who has to send, and when: [`visits`].

mod accept;
mod half_open;
mod visits;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quiche::{ConnectionId, Header, RecvInfo};
use ring::rand::{SecureRandom, SystemRandom};
use streams_relay_core::relay::SessionId;

use crate::EngineError;
use crate::backend::{PacketBackend, Sent};
use crate::stages::{Stage, timed};

use super::cid::{CID_LEN, CidScheme};
use super::config::{TlsFiles, WIDE_CONNECTIONS_MAX, server_config};
use super::connection::Connection;
use super::flush::VISIT_PACKETS;
use super::retry::RetryTokens;
use super::{Arrival, SessionSink};
use accept::FalseStarts;
use half_open::HalfOpen;
use visits::Mark;

/// Bounds of one shard's endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Of these, handshakes that are not done; the oldest one goes for one more. An address that was proven by a Retry has an
    /// eighth of them.
    pub half_open_max: usize,
    /// A handshake that is not done so long after its first packet is over, whatever else came.
    pub handshake_timeout: Duration,
    /// As many half-open handshakes, and a client has to prove its address by a Retry. 0: always.
    pub retry_half_open_min: usize,
    /// Packets that one connection sends before the next one has its turn.
    pub visit_packets: u64,
    /// A connection without any packet for so long is over, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Time from the handshake to an accepted WebTransport session.
    pub setup_timeout: Duration,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            half_open_max: 1_000,
            handshake_timeout: Duration::from_secs(5),
            retry_half_open_min: 250,
            visit_packets: VISIT_PACKETS,
            idle_timeout_ms: 30_000,
            setup_timeout: Duration::from_secs(10),
        }
    }
}

/// The part of [`EndpointLimits`] that may change while the endpoint runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointTuning {
    /// As [`EndpointLimits::connections_max`]; open connections stay.
    pub connections_max: usize,
    /// As [`EndpointLimits::retry_half_open_min`].
    pub retry_half_open_min: usize,
    /// As [`EndpointLimits::visit_packets`].
    pub visit_packets: u64,
}

/// What the endpoint counted since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointStats {
    /// Datagrams that were handed in, and their bytes.
    pub datagrams_in: u64,
    /// Bytes of the datagrams handed in.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Bytes of the packets sent.
    pub bytes_out: u64,
    /// Datagrams that are no QUIC, or name a connection that never was ours, or open one with a packet that is not genuine.
    pub junk: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Retry tokens of ours that had expired or came from another address.
    pub tokens_refused: u64,
    /// Times a connection moved to another address of its peer, which proved to be there.
    pub migrations: u64,
    /// Stateless resets sent.
    pub resets: u64,
    /// Connections refused because a limit was reached.
    pub refused: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Handshakes that came to nothing: refused by TLS, not done in time, or gone for a later one.
    pub handshakes_failed: u64,
    /// Times the packet backend had no room.
    pub blocked: u64,
    /// Times a connection was not read for some round trips, as it sent more than a viewer has to say.
    pub paused: u64,
}

/// A datagram whose connection lives on another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toss {
    /// The shard named by its connection id.
    pub shard: u8,
}

/// RFC 9000 §17.2: the first bit of a long header.
const LONG_HEADER: u8 = 0x80;
/// RFC 9000 §10.3: a reset must be smaller than what it answers and at least 21 bytes long.
const RESET_LEN_MIN: usize = 21;
const RESET_LEN_MAX: usize = 42;
/// RFC 9000 §20.1.
pub(super) const CONNECTION_REFUSED: u64 = 0x2;
/// Ids of a connection at once: the one in use, and spares to move to when the client's address changes. A client that moves
/// on before it was given new ones finds a second spare.
const ACTIVE_IDS: usize = 3;
const INDEX_BITS: u32 = 20;

/// The QUIC endpoint of one shard.
pub struct Endpoint {
    shard: u8,
    config: quiche::Config,
    ids: Arc<CidScheme>,
    tokens: RetryTokens,
    limits: EndpointLimits,
    /// A wall clock that steps with the shard's: what it showed, and when.
    clock: (Instant, u64),
    slots: Vec<Option<Box<Connection>>>,
    /// Of each slot: who waits for a visit. Apart from the connections, which are large and mostly not in the cache.
    marks: Vec<Mark>,
    free: Vec<usize>,
    by_id: HashMap<ConnectionId<'static>, usize>,
    /// When to look at a connection: at most one entry each, never later than its deadline.
    timers: BTreeSet<(Instant, usize)>,
    flush_queue: VecDeque<usize>,
    half_open: HalfOpen,
    false_starts: FalseStarts,
    /// Genuine first packets that TLS refused.
    refusals: FalseStarts,
    /// Connections that are read without bound.
    wide: usize,
    refusing: bool,
    sessions_made: u64,
    scratch: Vec<u8>,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint without connections.
    pub fn new(
        shard: u8,
        tls: &TlsFiles,
        ids: Arc<CidScheme>,
        tokens: RetryTokens,
        limits: EndpointLimits,
    ) -> Result<Self, EngineError> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            shard,
            config: server_config(tls, limits.idle_timeout_ms)?,
            ids,
            tokens,
            clock: (Instant::now(), u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)),
            limits: EndpointLimits { connections_max: limits.connections_max.min(1 << INDEX_BITS), ..limits },
            slots: Vec::new(),
            marks: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            timers: BTreeSet::new(),
            flush_queue: VecDeque::new(),
            half_open: HalfOpen::default(),
            false_starts: FalseStarts::default(),
            refusals: FalseStarts::default(),
            wide: 0,
            refusing: false,
            sessions_made: 0,
            scratch: vec![0; 64 << 10],
            stats: EndpointStats::default(),
        })
    }

    /// New connections use the certificate that the files hold now; open ones keep theirs.
    pub fn reload_certificate(&mut self, tls: &TlsFiles) -> Result<(), EngineError> {
        self.config = server_config(tls, self.limits.idle_timeout_ms)?;
        Ok(())
    }

    /// Goes on with other limits.
    pub fn tune(&mut self, tuning: EndpointTuning) {
        let EndpointTuning { connections_max, retry_half_open_min, visit_packets } = tuning;
        let connections_max = connections_max.min(1 << INDEX_BITS);
        self.limits = EndpointLimits { connections_max, retry_half_open_min, visit_packets, ..self.limits };
    }

    /// New connections are refused from now on; open ones stay.
    pub fn refuse_new(&mut self) {
        self.refusing = true;
    }

    /// Counters.
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Hands in one datagram. It is decrypted in place. `Some` asks the caller to toss it to another shard.
    pub fn datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        arrival: Arrival,
        backend: &mut dyn PacketBackend,
        sink: &mut dyn SessionSink,
    ) -> Option<Toss> {
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += datagram.len() as u64;
        // RFC 9000 §17.3: nearly all datagrams have a short header, and quiche's reader allocates for each.
        let short = datagram.first().is_some_and(|first| first & LONG_HEADER == 0);
        if let Some(id) = datagram.get(1..=CID_LEN).filter(|_| short) {
            let id = ConnectionId::from_ref(id);
            let owner = self.ids.shard_of(&id);
            let known = owner.and_then(|_| self.by_id.get(&id).copied());
            match (known, owner) {
                (Some(index), _) => self.receive(now, index, datagram, arrival, sink),
                (None, Some(shard)) if shard != self.shard => return Some(Toss { shard }),
                (None, Some(_)) => self.send_reset(datagram, arrival.from, backend),
                (None, None) => self.stats.junk += 1,
            }
            return None;
        }
        let Ok(header) = Header::from_slice(datagram, CID_LEN) else {
            self.stats.junk += 1;
            return None;
        };
        let owner = self.ids.shard_of(&header.dcid);
        match (self.by_id.get(&header.dcid).copied(), owner) {
            (Some(index), _) => self.receive(now, index, datagram, arrival, sink),
            (None, Some(shard)) if shard != self.shard => return Some(Toss { shard }),
            (None, _) => {
                if let Some(index) = self.accept(now, &header, datagram, arrival, backend) {
                    self.received(now, index, false, sink);
                }
            }
        }
        None
    }

    /// A datagram that was to be tossed to a shard that this engine does not have: it ran with more of them before its restart,
    /// so the connection is as lost as one of this shard.
    pub fn orphan(&mut self, datagram: &mut [u8], from: SocketAddr, backend: &mut dyn PacketBackend) {
        if datagram.first().is_some_and(|first| first & LONG_HEADER == 0) {
            self.send_reset(datagram, from, backend);
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        index: usize,
        datagram: &mut [u8],
        arrival: Arrival,
        sink: &mut dyn SessionSink,
    ) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        let established = connection.quic.is_established();
        if !established && !connection.spend_handshake(datagram.len()) {
            self.forget(index);
            return;
        }
        // An undecryptable packet is no error of the connection; quiche has counted and dropped it.
        let info = RecvInfo { from: arrival.from, to: arrival.to };
        let _ = timed(Stage::Recv, || connection.quic.recv(datagram, info));
        self.received(now, index, established, sink);
    }

    /// What follows from a datagram that quiche has taken.
    fn received(&mut self, now: Instant, index: usize, established: bool, sink: &mut dyn SessionSink) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        connection.progress = true;
        connection.timeouts = 0;
        self.stats.migrations += connection.path_events();
        if self.refusing && !connection.quic.is_established() {
            // Told at once, so that the client need not wait for its own time-out. Only the first close counts.
            let refused = connection.quic.close(false, CONNECTION_REFUSED, b"this server is about to stop");
            self.stats.refused += u64::from(refused.is_ok());
        }
        connection.heard(now, self.limits.idle_timeout_ms);
        self.process(now, index, sink);
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        connection.finish_close(now);
        if !established && connection.quic.is_established() {
            self.half_open.remove(connection.session);
            self.issue_spare_ids(index);
        }
        self.forget_retired(index);
        self.queue_flush(index);
    }

    /// Reads what a connection has, as fast as it may be read.
    fn process(&mut self, now: Instant, index: usize, sink: &mut dyn SessionSink) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        connection.process(now + self.limits.setup_timeout, &mut self.scratch, sink);
        if !connection.intake.is_spent() {
            return;
        }
        if self.wide < WIDE_CONNECTIONS_MAX && sink.may_publish(connection.session) {
            self.wide += 1;
            connection.intake.set_free();
            connection.process(now + self.limits.setup_timeout, &mut self.scratch, sink);
        } else {
            self.stats.paused += 1;
            connection.intake.pause(now, connection.round_trip());
        }
    }

    /// Fills up the client's ids.
    fn issue_spare_ids(&mut self, index: usize) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        while connection.quic.active_scids() < ACTIVE_IDS && connection.quic.scids_left() > 0 {
            let Ok(id) = self.ids.issue(self.shard) else { return };
            if connection.quic.new_scid(&id, self.ids.reset_token(&id), false).is_err() {
                return;
            }
            self.by_id.insert(id.clone(), index);
            connection.ids.push(id);
        }
    }

    /// An id that the client has left is forgotten, and it gets another for the next time that its address changes.
    fn forget_retired(&mut self, index: usize) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        let mut any = false;
        while let Some(retired) = connection.quic.retired_scid_next() {
            connection.ids.retain(|id| *id != retired);
            self.by_id.remove(&retired);
            any = true;
        }
        if any {
            self.issue_spare_ids(index);
        }
    }

    /// RFC 9000 §10.3: the peer of a connection that this engine lost (a restart) learns it at once.
    fn send_reset(&mut self, datagram: &[u8], to: SocketAddr, backend: &mut dyn PacketBackend) {
        let Some(id) = datagram.get(1..=CID_LEN) else { return };
        let len = datagram.len().saturating_sub(1).min(RESET_LEN_MAX);
        let Some(frame) = free_frame(backend, to) else { return };
        let Some(out) = frame.get_mut(..len).filter(|_| len >= RESET_LEN_MIN) else { return };
        if SystemRandom::new().fill(out).is_err() {
            return;
        }
        if let Some(first) = out.first_mut() {
            *first = 0x40 | (*first & 0x3f);
        }
        if let Some(tail) = out.last_chunk_mut::<16>() {
            *tail = self.ids.reset_token(id).to_be_bytes();
        }
        if backend.send_train(to, len, len).is_ok() {
            self.stats.resets += 1;
        }
    }

    fn remove(&mut self, index: usize, sink: &mut dyn SessionSink) {
        if let Some(Some(connection)) = self.slots.get_mut(index) {
            connection.end_session(sink);
        }
        self.forget(index);
    }

    /// Drops a connection whose session is closed or never was.
    fn forget(&mut self, index: usize) {
        let Some(connection) = self.slots.get_mut(index).and_then(Option::take) else { return };
        self.stats.handshakes_failed += u64::from(self.half_open.remove(connection.session));
        self.wide -= usize::from(connection.intake.is_free());
        for id in &connection.ids {
            self.by_id.remove(id);
        }
        if let Some(due) = connection.scheduled {
            self.timers.remove(&(due, index));
        }
        self.free.push(index);
    }

    /// The wall clock at `now`. Read from the clock of the shard, so that a step of the machine's clock ages no token.
    fn unix_ms(&self, now: Instant) -> u64 {
        let (then, unix_ms) = self.clock;
        let since = now.saturating_duration_since(then);
        unix_ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Closes every connection: the engine stops. Peers see an application close with `reason`.
    pub fn close_all(&mut self, code: u64, reason: &str) {
        for index in 0..self.slots.len() {
            if let Some(Some(connection)) = self.slots.get_mut(index) {
                let _ = connection.quic.close(true, code, reason.as_bytes());
                self.queue_flush(index);
            }
        }
    }
}

/// What tests look at that nobody else needs.
#[cfg(test)]
impl Endpoint {
    /// Handshakes that are not done.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    /// Connections that are read without bound.
    pub(super) fn wide(&self) -> usize {
        self.wide
    }

    /// The error that a session's connection was ended with here.
    pub(super) fn error_of(&self, session: SessionId) -> Option<u64> {
        let connection = self.slots.get(index_of(session))?.as_ref()?;
        connection.quic.local_error().map(|error| error.error_code)
    }

    /// Connection ids in the map.
    pub(super) fn ids_known(&self) -> usize {
        self.by_id.len()
    }

    /// Paths that quiche keeps for a session's connection.
    pub(super) fn paths_of(&self, session: SessionId) -> usize {
        let slot = self.slots.get(index_of(session)).and_then(Option::as_ref);
        slot.map_or(0, |connection| connection.quic.path_stats().count())
    }
}

/// The frame to write an answer outside of connections into; `None` while a train waits there.
fn free_frame(backend: &mut dyn PacketBackend, to: SocketAddr) -> Option<&mut [u8]> {
    matches!(backend.flush(), Ok(Sent::Done)).then(|| backend.frame(to))
}

fn index_of(session: SessionId) -> usize {
    (session.0 & ((1 << INDEX_BITS) - 1)) as usize
}
