//! RTMP ingest: one listener a shard, one task a connection.
//!
//! ```text
//!   accept -> place -> RtmpSession -> Publish{key} -> admit -> here: media -> inputs
//!                         ^                            |-> elsewhere: socket and session move to the home shard
//!      read -> slice -> ..'                            '-> refused: told why, closed
//! ```
//!
//! What was read is handed on in slices, and after each one the other tasks and the shard's turn get theirs, whatever the bytes
//! turn out to be.

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future;
use streams_contract::{Event, Protocol};
use streams_ingest::{Answer, IngestError, RtmpLimits, RtmpSession, Session, SessionEvent};
use streams_logs::Seldom;
use tracing::{debug, info, warn};

use super::admission::PlaceLimits;
use super::door::{Door, Place};
use crate::broadcast::{Admission, Kick, Publication};
use crate::host::{HostedListener, HostedStream, Spawner, sleep_until};
use crate::shard::{EncoderHandOver, Shard};

/// One read. An RTMP chunk is 4 KiB with most encoders; a key frame of a few hundred KiB takes a few dozen reads.
const READ_LEN: usize = 32 << 10;
/// One read before a key was shown: anybody may make this server hold so much.
const UNPUBLISHED_READ_LEN: usize = SLICE_LEN;
/// Bytes that a session takes at a time: what they can be made to cost is a fraction of the 200 us that tasks have between two
/// turns of the shard, while a frame of 16 KiB is eight slices, of which each adds a fraction of a microsecond.
const SLICE_LEN: usize = 2 << 10;
/// Events of a session that are handled at a time: a frame that is packaged and handed to the relay takes some ten microseconds.
const EVENTS_A_SLICE: usize = 16;
/// Pause after an accept that failed: mostly there is no descriptor left, and trying at once would not make one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an encoder may take to read an answer. Answers are small; only a broken encoder lets its window fill.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for the last words.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// Told to an encoder with a good key for which there is no room.
const NO_PLACE: &str =
    "this server has as many encoders as it takes; connect to another one or raise [ingest] connections_max";

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

/// Accepts encoders until the shard ends.
pub(crate) async fn listen(edge: RtmpEdge, listener: HostedListener) {
    static FAILED: Seldom = Seldom::new();
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let now = Instant::now();
                if let Some(left_out) = FAILED.pass(now) {
                    warn!(%error, left_out, "an RTMP connection could not be accepted");
                }
                sleep_until(now + ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Some(connection) = let_in(&edge, socket, peer) {
            edge.spawner.spawn(connection.run(Vec::new(), Vec::new()));
        }
    }
}

/// A connection that this shard accepted; closed at once without a place, for encoders try again by themselves.
fn let_in(edge: &RtmpEdge, socket: TcpStream, peer: SocketAddr) -> Option<Connection> {
    let mut shard = edge.shard.borrow_mut();
    let refused = &mut shard.ingest_stats().refused;
    let Ok(socket) = HostedStream::new(socket) else {
        *refused += 1;
        return None;
    };
    let place = edge.door.enter(peer.ip(), socket.io(), refused)?;
    drop(shard);
    let session = Box::new(RtmpSession::new(edge.settings.limits.clone()));
    Some(Connection::new(edge.clone(), socket, place, session, peer))
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
        let mut connection = Connection::new(edge, socket, place, session, peer);
        let mut out = Vec::new();
        match connection.publish(&key, &mut out) {
            Step::Go => connection.run(rest, out).await,
            Step::HandOver(home, key) => connection.hand_over(home, key, rest),
            Step::End => connection.finish(out).await,
        }
    });
}

/// How far the waiting events were handled.
enum Drained {
    /// None is left.
    All,
    /// There may be more.
    Some,
    /// One of them decided what comes next.
    Step(Step),
}

enum Step {
    Go,
    HandOver(usize, String),
    End,
}

struct Connection {
    edge: RtmpEdge,
    socket: HostedStream,
    place: Place,
    session: Option<Box<RtmpSession>>,
    peer: SocketAddr,
    since: Instant,
    publication: Option<Publication>,
    kick: Option<Rc<Kick>>,
    graceful: bool,
    error: Option<String>,
}

impl Connection {
    fn new(edge: RtmpEdge, socket: HostedStream, place: Place, session: Box<RtmpSession>, peer: SocketAddr) -> Self {
        edge.shard.borrow_mut().ingest_stats().open += 1;
        // Replies are small and an encoder waits for them.
        let _ = socket.io().set_nodelay(true);
        Self {
            edge,
            socket,
            place,
            session: Some(session),
            peer,
            since: Instant::now(),
            publication: None,
            kick: None,
            graceful: false,
            error: None,
        }
    }

    /// Reads until the encoder, the shard or a time limit ends it. `input` was read already; `out` is written behind its answer.
    async fn run(mut self, mut input: Vec<u8>, mut out: Vec<u8>) {
        loop {
            match self.take(&mut input, &mut out).await {
                Step::Go => {}
                Step::HandOver(home, key) => return self.hand_over(home, key, input),
                Step::End => return self.finish(out).await,
            }
            if self.socket.write_all(&out, Instant::now() + WRITE_PATIENCE).await.is_err() {
                return self.finish(Vec::new()).await;
            }
            out.clear();
            let Some(patience) = self.patience() else {
                self.error = Some("no publish within the handshake time".into());
                return self.finish(out).await;
            };
            input.resize(if self.publication.is_some() { READ_LEN } else { UNPUBLISHED_READ_LEN }, 0);
            match self.socket.read(&mut input, Instant::now() + patience).await {
                Ok(0) => return self.ended(out).await,
                Ok(len) => input.truncate(len),
                Err(error) => {
                    self.error = Some(read_error(&error, self.publication.is_some()));
                    return self.ended(out).await;
                }
            }
        }
    }

    /// How long the next read may take; `None` when the time to publish is over.
    fn patience(&self) -> Option<Duration> {
        if self.publication.is_some() {
            return Some(self.edge.settings.idle_timeout);
        }
        self.edge.settings.handshake_timeout.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }

    /// Handles `input` slice by slice and lets the others have their turn in between. What is left of it then is not handled yet.
    async fn take(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Step {
        let (mut taken, mut broken) = (0, None);
        let step = loop {
            match self.drain_events(out) {
                Drained::Some => {}
                Drained::Step(step) => break step,
                // Events that came before an error count: the last frames of a broken connection are good frames.
                Drained::All if broken.is_some() => break Step::End,
                Drained::All => {
                    let rest = input.get(taken..).unwrap_or_default();
                    let Some(session) = &mut self.session else { break Step::End };
                    if rest.is_empty() && !session.is_behind() {
                        break Step::Go;
                    }
                    let handled = session.handle_input(Instant::now(), rest);
                    session.poll_transmit(out);
                    match handled {
                        Ok(used) => {
                            taken += used;
                            self.edge.shard.borrow_mut().ingest_stats().bytes += used as u64;
                        }
                        Err(error) => broken = Some(error),
                    }
                }
            }
            future::yield_now().await;
        };
        if let Some(error) = &broken {
            self.refuse(error);
        }
        input.drain(..taken);
        step
    }

    /// Handles some of the events that wait.
    fn drain_events(&mut self, out: &mut Vec<u8>) -> Drained {
        for _ in 0..EVENTS_A_SLICE {
            let event = self.session.as_mut().and_then(|session| session.poll_event());
            let Some(event) = event else { return Drained::All };
            match self.event(event, out) {
                Step::Go => {}
                other => return Drained::Step(other),
            }
        }
        Drained::Some
    }

    fn event(&mut self, event: SessionEvent, out: &mut Vec<u8>) -> Step {
        match event {
            SessionEvent::Publish(request) => return self.publish(&request.key, out),
            SessionEvent::Metadata(metadata) => {
                if let Some(publication) = &self.publication {
                    let mut shard = self.edge.shard.borrow_mut();
                    shard.with_inputs(|inputs, _| inputs.metadata(publication, &metadata));
                }
            }
            SessionEvent::Unit(unit) => {
                let Some(publication) = &self.publication else { return Step::Go };
                let mut shard = self.edge.shard.borrow_mut();
                shard.tick_clock(Instant::now());
                shard.ingest_stats().units += 1;
                if !shard.with_inputs(|inputs, context| inputs.unit(context, publication, unit)) {
                    return Step::End;
                }
            }
            SessionEvent::Notice(notice) => {
                if let Some(publication) = &self.publication {
                    let mut shard = self.edge.shard.borrow_mut();
                    shard.tick_clock(Instant::now());
                    shard.with_inputs(|inputs, context| inputs.notice(context, publication, notice));
                }
            }
            SessionEvent::Closed => {
                self.graceful = true;
                return Step::End;
            }
        }
        Step::Go
    }

    /// Answers a request to publish.
    fn publish(&mut self, key: &str, out: &mut Vec<u8>) -> Step {
        let admission = self.edge.shard.borrow_mut().admit(key);
        match admission {
            Admission::Elsewhere(home) => Step::HandOver(home, key.to_owned()),
            Admission::Refused { reason, input } => self.decline(input, reason, out),
            Admission::Here(owner) => {
                let input = owner.entry.id.clone();
                if self.place.publish(&input).is_err() {
                    self.edge.shard.borrow_mut().with_inputs(|inputs, _| inputs.unclaim(&owner));
                    return self.decline(Some(input), NO_PLACE, out);
                }
                let kick = Kick::new(self.socket.io().clone());
                self.kick = Some(kick.clone());
                {
                    let mut shard = self.edge.shard.borrow_mut();
                    shard.tick_clock(Instant::now());
                    let publication = shard.with_inputs(|inputs, context| inputs.start(context, &owner, key, kick));
                    self.publication = Some(publication);
                    shard.ingest_stats().accepted += 1;
                    let index = shard.index();
                    let peer = self.peer.to_string();
                    shard.event(&Event::IngestUp {
                        input: input.clone(),
                        shard: index,
                        protocol: Protocol::Rtmp,
                        peer,
                    });
                    info!(shard = index, input, peer = %self.peer, "encoder connected");
                }
                let accepted = self.session.as_mut().map(|session| {
                    let accepted = session.answer(Answer::Accept);
                    session.poll_transmit(out);
                    accepted
                });
                match accepted {
                    Some(Ok(())) => Step::Go,
                    Some(Err(error)) => {
                        self.refuse(&error);
                        Step::End
                    }
                    None => Step::End,
                }
            }
        }
    }

    /// Says no to a request to publish.
    fn decline(&mut self, input: Option<String>, reason: &str, out: &mut Vec<u8>) -> Step {
        if let Some(session) = &mut self.session {
            refuse(session.as_mut(), reason, out);
        }
        self.tell_refusal(input, reason);
        Step::End
    }

    /// Media or protocol that cannot be used: named in the log and in the input's status.
    fn refuse(&mut self, error: &IngestError) {
        let reason = error.to_string();
        let input = self.publication.as_ref().map(|publication| publication.input.clone());
        debug!(peer = %self.peer, reason, "RTMP connection refused");
        self.error = Some(reason.clone());
        self.tell_refusal(input, &reason);
    }

    fn tell_refusal(&self, input: Option<String>, reason: &str) {
        let mut shard = self.edge.shard.borrow_mut();
        shard.ingest_stats().refused += 1;
        let index = shard.index();
        info!(shard = index, peer = %self.peer, input, reason, "encoder refused");
        if let Some(input) = &input {
            shard.with_inputs(|inputs, context| inputs.refused(input, context.unix_ms, reason));
        }
        shard.event(&Event::IngestRefused {
            input,
            shard: index,
            reason: reason.to_owned(),
            peer: self.peer.to_string(),
        });
    }

    /// Moves to the home shard, with what was read and not handled.
    fn hand_over(mut self, home: usize, key: String, rest: Vec<u8>) {
        let (Some(session), Ok(socket)) = (self.session.take(), self.socket.io().try_clone()) else { return };
        let encoder = EncoderHandOver { socket, session, key, rest, peer: self.peer };
        let mut shard = self.edge.shard.borrow_mut();
        if !shard.hand_over(home, encoder) {
            warn!(peer = %self.peer, home, "the home shard's box is full; the encoder has to connect again");
        }
    }

    /// The socket gave end of stream: the encoder is gone, or this side kicked it.
    async fn ended(mut self, mut out: Vec<u8>) {
        if let Some(reason) = self.kick.as_ref().and_then(|kick| kick.reason()) {
            if let Some(session) = &mut self.session {
                refuse(session.as_mut(), &reason, &mut out);
            }
            self.error = Some(reason);
        }
        self.finish(out).await;
    }

    /// Says the last words and closes.
    async fn finish(mut self, out: Vec<u8>) {
        self.leave();
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

    fn leave(&mut self) {
        let Some(publication) = self.publication.take() else { return };
        self.place.finish();
        let mut shard = self.edge.shard.borrow_mut();
        shard.tick_clock(Instant::now());
        let reason = match (&self.error, self.graceful) {
            (Some(error), _) => error.clone(),
            (None, true) => "the encoder ended the stream".into(),
            (None, false) => "the connection was lost".into(),
        };
        let (graceful, error) = (self.graceful, self.error.as_deref());
        shard.with_inputs(|inputs, context| inputs.lost(context, &publication, graceful, error));
        let index = shard.index();
        info!(shard = index, input = publication.input, reason, "encoder gone");
        shard.event(&Event::IngestDown { input: publication.input, shard: index, reason });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut shard = self.edge.shard.borrow_mut();
        let stats = shard.ingest_stats();
        stats.open = stats.open.saturating_sub(1);
    }
}

/// Tells the encoder why it has to go.
fn refuse(session: &mut RtmpSession, reason: &str, out: &mut Vec<u8>) {
    // A session that is over already has nothing to say.
    let _ = session.answer(Answer::Refuse(reason));
    session.poll_transmit(out);
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
