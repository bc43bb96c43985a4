//! One QUIC connection and the MoQT session on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::{ConnectionId, PathEvent, Shutdown};
use streams_relay_core::relay::{Dir, Draft, SessionConfig, SessionId, StreamId, Transport};

use super::config::{SEND_PAYLOAD_LEN_MAX, SEND_PAYLOAD_LEN_MIN};
use super::ending::{Ending, Streams};
use super::endpoint::CONNECTION_REFUSED;
use super::intake::Intake;
use super::webtransport::errors::H3_NO_ERROR;
use super::webtransport::{Opened, ResetOf, WebTransport};
use super::{Quic, SessionSink};

/// How long a connection stays for the peer to acknowledge a WebTransport close capsule.
const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// What a handshake may bring before it is done, in bytes of datagrams. An honest one needs a few KiB, and sends them again some
/// times on a bad path; quiche would keep each one-byte piece of a CRYPTO frame that comes out of order, some 145 bytes for 8 (measured).
const HANDSHAKE_LEN_MAX: usize = 32 << 10;

/// What the application protocol turned out to be.
pub(super) enum Mode {
    /// TLS is not done.
    Handshake,
    /// MoQT straight on QUIC streams.
    Raw,
    /// MoQT in a WebTransport session over HTTP/3.
    WebTransport(WebTransport),
}

/// One connection of the endpoint's slab.
pub(super) struct Connection {
    pub(super) quic: Quic,
    pub(super) session: SessionId,
    pub(super) peer: SocketAddr,
    pub(super) mode: Mode,
    /// The session was opened towards the sink and not closed yet.
    pub(super) open: bool,
    /// Next ids of streams that we open.
    pub(super) next_uni: u64,
    pub(super) next_bidi: u64,
    /// Stream prefixes that the transport did not take at once.
    pub(super) pending_prefixes: Vec<(u64, Vec<u8>)>,
    /// The session has more to send than quiche took.
    pub(super) blocked: bool,
    /// Something came from the peer, or a timer fired, since the session was pumped last: there may be room again.
    pub(super) progress: bool,
    /// Timers that ran out since something came last.
    pub(super) timeouts: u32,
    /// Bytes of a packet at most, whatever quiche has found out.
    pub(super) packet_len_max: usize,
    /// When the timer heap will look at this connection.
    pub(super) scheduled: Option<Instant>,
    /// When a handshake that is not done is over.
    handshake_deadline: Instant,
    /// What the handshake may still bring, in bytes of datagrams.
    handshake_len_left: usize,
    /// The handshake was not done in time: the connection goes with its next packet, and waits for nothing.
    pub(super) expired: bool,
    /// When a connection over HTTP/3 goes that has no WebTransport session by then.
    pub(super) setup_deadline: Option<Instant>,
    /// The session is closed for the peer; the connection goes at this time at the latest.
    pub(super) close_deadline: Option<Instant>,
    /// Streams that the peer has stopped so far, by quiche's count.
    stops_seen: u64,
    ending: Ending,
    pub(super) intake: Intake,
    /// When to say something so that the peer does not take the connection for dead, if nothing comes before.
    keep_alive_at: Option<Instant>,
    /// Every connection id under which the map knows it.
    pub(super) ids: Vec<ConnectionId<'static>>,
}

impl Connection {
    pub(super) fn new(
        quic: Quic,
        session: SessionId,
        peer: SocketAddr,
        ids: Vec<ConnectionId<'static>>,
        handshake_deadline: Instant,
    ) -> Self {
        Self {
            quic,
            session,
            peer,
            mode: Mode::Handshake,
            open: false,
            // RFC 9000 §2.1: server-initiated streams are 1 mod 4 (bidirectional) and 3 mod 4 (unidirectional).
            next_uni: 3,
            next_bidi: 1,
            pending_prefixes: Vec::new(),
            blocked: false,
            progress: false,
            timeouts: 0,
            packet_len_max: SEND_PAYLOAD_LEN_MAX,
            scheduled: None,
            handshake_deadline,
            handshake_len_left: HANDSHAKE_LEN_MAX,
            expired: false,
            setup_deadline: None,
            close_deadline: None,
            stops_seen: 0,
            ending: Ending::default(),
            intake: Intake::default(),
            keep_alive_at: None,
            ids,
        }
    }

    /// Counts a datagram that came before the handshake was done. `false`: it has brought more than any needs.
    pub(super) fn spend_handshake(&mut self, len: usize) -> bool {
        match self.handshake_len_left.checked_sub(len) {
            Some(left) => self.handshake_len_left = left,
            None => return false,
        }
        true
    }

    /// Runs what arrived: handshake progress, then every readable stream. A WebTransport session that is still to come has time
    /// until `setup_deadline`.
    pub(super) fn process(&mut self, setup_deadline: Instant, scratch: &mut [u8], sink: &mut dyn SessionSink) {
        if matches!(self.mode, Mode::Handshake) && self.quic.is_established() {
            self.start(setup_deadline, sink);
        }
        if matches!(self.mode, Mode::Handshake) {
            return;
        }
        for id in self.quic.readable() {
            self.read_stream(id, scratch, sink);
        }
        self.resume_waiting(scratch, sink);
        self.read_datagrams(scratch, sink);
        self.tell_stops(sink);
        self.ending.sweep(&mut self.quic);
    }

    /// Tells which of our streams the peer does not want any more. A stream on which nothing is to be written would not show
    /// it otherwise, and a subscription is such a stream.
    fn tell_stops(&mut self, sink: &mut dyn SessionSink) {
        let stops = self.quic.stats().stopped_stream_count_remote;
        if stops == self.stops_seen {
            return;
        }
        self.stops_seen = stops;
        for id in self.quic.writable() {
            let Err(quiche::Error::StreamStopped(wire_code)) = self.quic.stream_capacity(id) else { continue };
            // quiche has reset the stream by itself. It keeps it among the writable ones, and so for ever, until it is told that
            // nobody will write there any more.
            let _ = self.quic.stream_shutdown(id, Shutdown::Write, wire_code);
            let code = self.session_code(wire_code);
            if self.open {
                sink.stream_stopped(self.session, StreamId(id), code);
            }
        }
    }

    fn read_datagrams(&mut self, scratch: &mut [u8], sink: &mut dyn SessionSink) {
        while let Ok(len) = self.quic.dgram_recv(scratch) {
            let mut data = scratch.get(..len).unwrap_or_default();
            match &self.mode {
                Mode::Handshake => {}
                Mode::Raw => sink.datagram(self.session, data),
                Mode::WebTransport(state) => {
                    if state.owns_datagram(&mut data) {
                        sink.datagram(self.session, data);
                    }
                }
            }
        }
    }

    fn start(&mut self, setup_deadline: Instant, sink: &mut dyn SessionSink) {
        if self.quic.application_proto() == b"h3" {
            let control = self.next_uni;
            self.next_uni += 4;
            let mut io = Streams { quic: &mut self.quic, ending: &mut self.ending };
            self.mode = Mode::WebTransport(WebTransport::start(&mut io, control));
            self.setup_deadline = Some(setup_deadline);
        } else {
            self.mode = Mode::Raw;
            let config = SessionConfig {
                draft: Draft::D18,
                transport: Transport::Quic,
                path: None,
                origin: None,
                peer: self.peer,
            };
            self.open = true;
            sink.session_open(self.session, config);
        }
    }

    fn read_stream(&mut self, id: u64, scratch: &mut [u8], sink: &mut dyn SessionSink) {
        loop {
            if let Mode::WebTransport(state) = &self.mode
                && !state.wants(id)
            {
                return;
            }
            let most = self.intake.most(scratch.len());
            let Some(out) = scratch.get_mut(..most).filter(|_| most > 0) else { return };
            match self.quic.stream_recv(id, out) {
                Ok((len, fin)) => {
                    self.intake.spend(len);
                    let data = scratch.get(..len).unwrap_or_default();
                    self.deliver(id, data, fin, sink);
                    if fin {
                        return;
                    }
                }
                Err(quiche::Error::StreamReset(code)) => return self.deliver_reset(id, code, sink),
                Err(_) => return,
            }
        }
    }

    fn deliver(&mut self, id: u64, data: &[u8], fin: bool, sink: &mut dyn SessionSink) {
        match &mut self.mode {
            Mode::Handshake => {}
            Mode::Raw => sink.stream_data(self.session, StreamId(id), direction(id), data, fin),
            Mode::WebTransport(state) => {
                let mut io = Streams { quic: &mut self.quic, ending: &mut self.ending };
                let opened = state.receive(&mut io, id, data, fin, self.session, sink);
                let ended = state.ended();
                if let Some(Opened { path, origin }) = opened {
                    let config = SessionConfig {
                        draft: Draft::D18,
                        transport: Transport::WebTransport,
                        path: Some(path),
                        origin,
                        peer: self.peer,
                    };
                    (self.open, self.setup_deadline) = (true, None);
                    sink.session_open(self.session, config);
                }
                if ended {
                    self.end_session(sink);
                    self.close_deadline.get_or_insert_with(Instant::now);
                }
            }
        }
    }

    /// Streams that came before their WebTransport session was accepted are read now.
    fn resume_waiting(&mut self, scratch: &mut [u8], sink: &mut dyn SessionSink) {
        let Mode::WebTransport(state) = &mut self.mode else { return };
        let mut io = Streams { quic: &mut self.quic, ending: &mut self.ending };
        for id in state.release(&mut io, self.session, sink) {
            self.read_stream(id, scratch, sink);
        }
    }

    fn deliver_reset(&mut self, id: u64, code: u64, sink: &mut dyn SessionSink) {
        if let Mode::WebTransport(state) = &mut self.mode {
            let mut io = Streams { quic: &mut self.quic, ending: &mut self.ending };
            let whose = state.stream_reset(&mut io, id);
            if state.ended() {
                self.end_session(sink);
                self.close_deadline.get_or_insert_with(Instant::now);
            }
            if whose == ResetOf::Other || !self.open {
                return;
            }
        }
        let code = self.session_code(code);
        sink.stream_reset(self.session, StreamId(id), code);
    }

    /// Closes the MoQT session: CONNECTION_CLOSE on raw QUIC; on WebTransport the close capsule, with the connection kept
    /// until the peer has it (a page reads code and reason only from the capsule).
    pub(super) fn close_session(&mut self, now: Instant, code: u64, reason: &str) {
        if self.close_deadline.is_some() {
            return;
        }
        match &mut self.mode {
            Mode::WebTransport(state) => {
                let mut io = Streams { quic: &mut self.quic, ending: &mut self.ending };
                state.send_close(&mut io, code, reason);
                push_close(state, &mut self.quic);
                self.close_deadline = Some(now + CLOSE_LINGER);
            }
            Mode::Raw | Mode::Handshake => {
                // Closing twice is the only error, and the first close stands.
                let _ = self.quic.close(true, code, reason.as_bytes());
                self.close_deadline = Some(now);
            }
        }
    }

    /// The earliest of the deadlines that are not quiche's.
    pub(super) fn own_deadline(&self) -> Option<Instant> {
        let handshake = (!self.quic.is_established()).then_some(self.handshake_deadline);
        let intake = self.intake.refill_at();
        let keep_alive = self.keep_alive_at.filter(|_| self.open);
        [handshake, self.setup_deadline, self.close_deadline, intake, keep_alive].into_iter().flatten().min()
    }

    /// Something came: the peer is alive for now.
    pub(super) fn heard(&mut self, now: Instant, idle_timeout_ms: u64) {
        // RFC 9000 §10.1: the smaller of both timeouts counts; 0 is none.
        let theirs_ms = self.quic.peer_transport_params().map_or(0, |params| params.max_idle_timeout);
        let shortest_ms = [idle_timeout_ms, theirs_ms].into_iter().filter(|ms| *ms > 0).min();
        // A third of it, so that a PING may be lost.
        self.keep_alive_at = shortest_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms / 3)));
    }

    /// RFC 9000 §10.1.2: a connection that is in use is kept alive while there is nothing to send, for a viewer's publisher may pause.
    pub(super) fn keep_alive(&mut self, now: Instant, idle_timeout_ms: u64, sink: &mut dyn SessionSink) {
        if self.open && self.keep_alive_at.is_some_and(|at| now >= at) {
            if sink.in_use(self.session) {
                // A connection without a path has nobody to say it to.
                let _ = self.quic.send_ack_eliciting();
            }
            self.heard(now, idle_timeout_ms);
        }
    }

    /// The smoothed round trip of the path in use.
    pub(super) fn round_trip(&self) -> Duration {
        let active = self.quic.path_stats().find(|path| path.active);
        active.map_or(Duration::ZERO, |path| path.rtt)
    }

    /// Ends the QUIC connection under a closed session when its time is up or the capsule has arrived, and one that never came
    /// to have a session.
    pub(super) fn finish_close(&mut self, now: Instant) {
        if !self.quic.is_established() && now >= self.handshake_deadline {
            let _ = self.quic.close(false, CONNECTION_REFUSED, b"the handshake was not done in time");
            self.expired = true;
        }
        if self.setup_deadline.is_some_and(|deadline| now >= deadline) {
            let _ = self.quic.close(true, H3_NO_ERROR, b"no WebTransport session was set up in time");
        }
        let Some(deadline) = self.close_deadline else { return };
        let delivered = match &mut self.mode {
            Mode::WebTransport(state) => {
                push_close(state, &mut self.quic);
                state.ended() || state.closed_on().is_some_and(|stream| self.quic.stream_closed(stream))
            }
            Mode::Raw | Mode::Handshake => false,
        };
        if now >= deadline || delivered {
            let _ = self.quic.close(true, H3_NO_ERROR, b"");
        }
    }

    /// Tells the sink once that nothing more can be sent.
    pub(super) fn end_session(&mut self, sink: &mut dyn SessionSink) {
        if std::mem::take(&mut self.open) {
            sink.session_closed(self.session);
        }
    }

    /// Works off what quiche tells about paths. It probes a new one, keeps to three times what came from there until the answer,
    /// and moves by itself; here the peer's address follows once the new one is proven. Gives how often it moved.
    pub(super) fn path_events(&mut self) -> u64 {
        let mut moves = 0;
        while let Some(event) = self.quic.path_event_next() {
            if let PathEvent::PeerMigrated(_, peer) = event {
                self.peer = peer;
                // quiche probes the MTU of the first path only, and takes the largest one for granted on others.
                self.packet_len_max = SEND_PAYLOAD_LEN_MIN;
                moves += 1;
            }
        }
        moves
    }

    pub(super) fn reset(&mut self, id: u64, code: u64) {
        let code = self.wire_code(code);
        self.pending_prefixes.retain(|(stream, _)| *stream != id);
        self.ending.reset(&mut self.quic, id, code);
    }

    /// Asks the peer to end its half of a stream. Its own unidirectional streams are left to run out instead, read and dropped:
    /// quiche never collects one that was shut down for reading, so each would cost the peer one of its streams for good. Who
    /// sends there is told by the end of its request.
    pub(super) fn stop(&mut self, id: u64, code: u64) {
        if direction(id) == Dir::Uni {
            return;
        }
        let code = self.wire_code(code);
        self.ending.stop(&mut self.quic, id, code);
    }

    /// The session's code of one on the wire.
    pub(super) fn session_code(&self, code: u64) -> u64 {
        match &self.mode {
            Mode::WebTransport(_) => web_transport_proto::error_from_http3(code).map_or(code, u64::from),
            Mode::Raw | Mode::Handshake => code,
        }
    }

    /// WebTransport shares the error space with HTTP/3, so its codes are moved into a range of their own.
    fn wire_code(&self, code: u64) -> u64 {
        match &self.mode {
            Mode::WebTransport(_) => web_transport_proto::error_to_http3(u32::try_from(code).unwrap_or(u32::MAX)),
            Mode::Raw | Mode::Handshake => code,
        }
    }
}

/// Sends what is left of the close capsule.
fn push_close(state: &mut WebTransport, quic: &mut Quic) {
    state.push_close(|stream, rest| match quic.stream_send(stream, rest, true) {
        Ok(sent) => Some(sent),
        Err(quiche::Error::Done) => Some(0),
        Err(_) => None,
    });
}

/// RFC 9000 §2.1: bit 1 of a stream id tells the direction.
pub(super) fn direction(id: u64) -> Dir {
    if id & 2 == 0 { Dir::Bidi } else { Dir::Uni }
}
