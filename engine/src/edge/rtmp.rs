//! RTMP ingest, plain and in TLS: a listener of each a shard, one task a connection. What an encoder does apart from its socket is [`super::encoder`].
//!
//! What was read is handed on in slices, and after each one the other tasks and the shard's turn get theirs, whatever the bytes
//! turn out to be.

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use streams_ingest::{RtmpLimits, RtmpSession, Session};
use streams_logs::Seldom;
use tracing::warn;

use super::admission::PlaceLimits;
use super::door::{Door, Place};
use super::encoder::{Encoder, Step};
use super::line::Line;
use super::tls::EdgeTls;
use super::tls_session::TlsSession;
use crate::broadcast::Kick;
use crate::host::{HostedListener, HostedStream, Spawner, sleep_until};
use crate::shard::{EncoderHandOver, Shard};

/// One read. An RTMP chunk is 4 KiB with most encoders; a key frame of a few hundred KiB takes a few dozen reads.
const READ_LEN: usize = 32 << 10;
/// One read before a key was shown: anybody may make this server hold so much.
const UNPUBLISHED_READ_LEN: usize = SLICE_LEN;
/// Bytes that a session takes at a time: what they can be made to cost is a fraction of the 200 us that tasks have between two
/// turns of the shard, while a frame of 16 KiB is eight slices, of which each adds a fraction of a microsecond.
const SLICE_LEN: usize = 2 << 10;
/// Pause after an accept that failed: mostly there is no descriptor left, and trying at once would not make one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an encoder may take to read an answer. Answers are small; only a broken encoder lets its window fill.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for the last words.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// Told to the log when a connection has to go.
pub(super) const TURNED_AWAY: &str = "encoders that had not published were closed for newer ones: more connect than \
     [ingest] unpublished_max or unpublished_address_max allow";
/// Bounds of the listener.
#[derive(Clone, Debug)]
pub(crate) struct RtmpSettings {
    /// Time from the connection to an accepted publish.
    pub(crate) handshake_timeout: Duration,
    /// Longest silence of a publishing encoder.
    pub(crate) idle_timeout: Duration,
    /// Connections at once.
    pub(crate) places: PlaceLimits,
    /// Bounds of the protocol machine.
    pub(crate) limits: RtmpLimits,
}

/// What every connection's task shares.
#[derive(Clone)]
pub(crate) struct RtmpEdge {
    pub(crate) shard: Rc<RefCell<Shard>>,
    pub(crate) spawner: Spawner,
    pub(crate) settings: Rc<RtmpSettings>,
    pub(crate) door: Rc<Door>,
}

/// Accepts encoders until the shard ends; with `tls`, they speak RTMPS.
pub(crate) async fn listen(edge: RtmpEdge, listener: HostedListener, tls: Option<Rc<EdgeTls>>) {
    static FAILED: Seldom = Seldom::new();
    loop {
        // A socket takes one descriptor to accept and one more to host: either may be the one that is not there.
        let accepted = listener.accept().await.and_then(|(socket, peer)| Ok((HostedStream::new(socket)?, peer)));
        match accepted {
            Ok((socket, peer)) => {
                if let Some(connection) = let_in(&edge, socket, peer, tls.as_deref()) {
                    edge.spawner.spawn(connection.run(Vec::new(), Vec::new()));
                }
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(left_out) = FAILED.pass(now) {
                    warn!(%error, left_out, "an RTMP connection could not be accepted");
                }
                sleep_until(now + ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that this shard accepted; closed at once without a place, for encoders try again by themselves.
fn let_in(edge: &RtmpEdge, socket: HostedStream, peer: SocketAddr, tls: Option<&EdgeTls>) -> Option<Connection> {
    let place = edge.door.enter(peer.ip(), socket.io(), &mut edge.shard.borrow_mut().ingest_stats().refused)?;
    let plain = Box::new(RtmpSession::new(edge.settings.limits.clone()));
    let session = match tls {
        None => plain,
        Some(tls) => {
            let config = tls.config(edge.shard.borrow().certificate_reloads());
            Box::new(TlsSession::new(config, plain).ok()?) as Box<dyn Session>
        }
    };
    Some(Connection::new(edge, socket, place, session, peer))
}

/// Takes over an encoder that another shard accepted: it has asked to publish and waits for the answer.
pub(crate) fn take_over(edge: &RtmpEdge, encoder: EncoderHandOver) {
    let EncoderHandOver { socket, session, key, rest, peer } = encoder;
    let socket = match HostedStream::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            static FAILED: Seldom = Seldom::new();
            if let Some(left_out) = FAILED.pass(Instant::now()) {
                warn!(%peer, %error, left_out, "an encoder could not be taken over; it has to connect again");
            }
            return;
        }
    };
    edge.door.vouch(peer.ip());
    let place = edge.door.enter(peer.ip(), socket.io(), &mut edge.shard.borrow_mut().ingest_stats().refused);
    let Some(place) = place else {
        return warn!(%peer, "an encoder found no place at its home shard; it has to connect again");
    };
    let edge = edge.clone();
    edge.spawner.clone().spawn(async move {
        let mut connection = Connection::new(&edge, socket, place, session, peer);
        let mut out = Vec::new();
        match connection.encoder.publish(&key, &mut out) {
            Step::Go => connection.run(rest, out).await,
            Step::HandOver(home, key) => connection.hand_over(home, key, rest),
            Step::End => connection.finish(out).await,
        }
    });
}

struct Connection {
    settings: Rc<RtmpSettings>,
    shard: Rc<RefCell<Shard>>,
    socket: HostedStream,
    encoder: Encoder,
    since: Instant,
}

impl Connection {
    fn new(edge: &RtmpEdge, socket: HostedStream, place: Place, session: Box<dyn Session>, peer: SocketAddr) -> Self {
        // Replies are small and an encoder waits for them.
        let _ = socket.io().set_nodelay(true);
        let kick = Kick::new(Rc::clone(socket.io()) as Rc<dyn Line>);
        let encoder = Encoder::new(edge.shard.clone(), session, place, peer, kick);
        Self { settings: edge.settings.clone(), shard: edge.shard.clone(), socket, encoder, since: Instant::now() }
    }

    /// Reads until the encoder, the shard or a time limit ends it. `input` was read already; `out` is written behind its answer.
    async fn run(mut self, mut input: Vec<u8>, mut out: Vec<u8>) {
        loop {
            match self.encoder.take(&mut input, &mut out).await {
                Step::Go => {}
                Step::HandOver(home, key) => return self.hand_over(home, key, input),
                Step::End => return self.finish(out).await,
            }
            if self.socket.write_all(&out, Instant::now() + WRITE_PATIENCE).await.is_err() {
                return self.finish(Vec::new()).await;
            }
            out.clear();
            let Some(patience) = self.patience() else {
                self.encoder.fail("no publish within the handshake time");
                return self.finish(out).await;
            };
            input.resize(if self.encoder.is_publishing() { READ_LEN } else { UNPUBLISHED_READ_LEN }, 0);
            match self.socket.read(&mut input, Instant::now() + patience).await {
                Ok(0) => return self.ended(out).await,
                Ok(len) => input.truncate(len),
                Err(error) => {
                    self.encoder.fail(read_error(&error, self.encoder.is_publishing()));
                    return self.ended(out).await;
                }
            }
        }
    }

    /// How long the next read may take; `None` when the time to publish is over.
    fn patience(&self) -> Option<Duration> {
        if self.encoder.is_publishing() {
            return Some(self.settings.idle_timeout);
        }
        self.settings.handshake_timeout.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }

    /// Moves to the home shard, with what was read and not handled.
    fn hand_over(self, home: usize, key: String, rest: Vec<u8>) {
        let Ok(socket) = self.socket.io().try_clone() else { return };
        let peer = self.encoder.peer();
        let encoder = EncoderHandOver { socket, session: self.encoder.into_session(), key, rest, peer };
        if !self.shard.borrow_mut().hand_over(home, encoder) {
            warn!(%peer, home, "the home shard's box is full; the encoder has to connect again");
        }
    }

    /// The socket gave end of stream: the encoder is gone, or this side kicked it.
    async fn ended(mut self, mut out: Vec<u8>) {
        self.encoder.ended(&mut out);
        self.finish(out).await;
    }

    /// Says the last words and closes.
    async fn finish(mut self, out: Vec<u8>) {
        self.encoder.leave();
        if !out.is_empty() {
            let deadline = Instant::now() + FAREWELL_PATIENCE;
            // The peer may be gone already.
            let _ = self.socket.write_all(&out, deadline).await;
            let _ = self.socket.io().shutdown(Shutdown::Write);
            self.drain_rest(deadline).await;
        }
    }

    /// Reads what the encoder still had on its way: closing with unread bytes would reset the connection, and with it the
    /// words just written.
    async fn drain_rest(&mut self, deadline: Instant) {
        let mut sink = vec![0; UNPUBLISHED_READ_LEN];
        while Instant::now() < deadline && self.socket.read(&mut sink, deadline).await.is_ok_and(|len| len > 0) {}
    }
}

fn read_error(error: &std::io::Error, publishing: bool) -> String {
    match (error.kind(), publishing) {
        (std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock, true) => {
            "the encoder sent nothing for too long".into()
        }
        (std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock, false) => {
            "no publish within the handshake time".into()
        }
        _ => format!("the connection broke: {error}"),
    }
}
