//! RTMP ingest: one listener a shard, one task a connection.
//!
//! ```text
//!   accept -> RtmpSession -> Publish{key} -> admit -> here: media -> inputs
//!                                             |-> elsewhere: socket and session move to the home shard
//!                                             '-> refused: told why, closed
//! ```

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use streams_ingest::{IngestError, RtmpEvent, RtmpLimits, RtmpSession};
use streams_logs::Seldom;
use streams_rings::schema::Event;
use tracing::{debug, info, warn};

use crate::host::{Hosted, Reactor, Spawner, host_stream};
use crate::shard::{Admission, EncoderHandOver, Kick, Publication, Shard};

/// One read. An RTMP chunk is 4 KiB with most encoders; a key frame of a few hundred KiB takes a few dozen reads.
const READ_LEN: usize = 32 << 10;
/// Pause after an accept that failed: mostly there is no descriptor left, and trying at once would not make one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an encoder may take to read an answer. Answers are small; only a broken encoder lets its window fill.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for the last words.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// Bounds of the listener.
#[derive(Clone, Debug)]
pub(crate) struct RtmpSettings {
    /// Time from the connection to an accepted publish.
    pub(crate) handshake_timeout: Duration,
    /// Longest silence of a publishing encoder.
    pub(crate) idle_timeout: Duration,
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// Bounds of the protocol machine.
    pub(crate) limits: RtmpLimits,
}

/// What every connection's task shares.
#[derive(Clone)]
pub(crate) struct RtmpEdge {
    pub(crate) shard: Rc<RefCell<Shard>>,
    pub(crate) reactor: Rc<Reactor>,
    pub(crate) spawner: Spawner,
    pub(crate) settings: Rc<RtmpSettings>,
}

/// Accepts encoders until the shard ends.
pub(crate) async fn listen(edge: RtmpEdge, listener: Hosted<TcpListener>) {
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                static FAILED: Seldom = Seldom::new();
                if let Some(left_out) = FAILED.pass(Instant::now()) {
                    warn!(%error, left_out, "an RTMP connection could not be accepted");
                }
                edge.reactor.sleep_until(Instant::now() + ACCEPT_PAUSE).await;
                continue;
            }
        };
        let over = edge.shard.borrow_mut().ingest_stats().open >= edge.settings.connections_max as u64;
        // Over the limit the connection is closed at once: the encoder tries again by itself.
        let (Ok(socket), false) = (host_stream(&edge.reactor, socket), over) else {
            edge.shard.borrow_mut().ingest_stats().refused += 1;
            continue;
        };
        let session = Box::new(RtmpSession::new(edge.settings.limits.clone()));
        let connection = Connection::new(edge.clone(), socket, session, peer);
        edge.spawner.spawn(connection.run(Vec::new()));
    }
}

/// Takes over an encoder that another shard accepted: it has asked to publish and waits for the answer.
pub(crate) fn take_over(edge: &RtmpEdge, encoder: EncoderHandOver) {
    let EncoderHandOver { socket, session, key, peer } = encoder;
    let socket = match host_stream(&edge.reactor, socket) {
        Ok(socket) => socket,
        Err(error) => {
            static FAILED: Seldom = Seldom::new();
            if let Some(left_out) = FAILED.pass(Instant::now()) {
                warn!(%peer, %error, left_out, "an encoder could not be taken over; it has to connect again");
            }
            return;
        }
    };
    let edge = edge.clone();
    edge.spawner.clone().spawn(async move {
        let mut connection = Connection::new(edge, socket, session, peer);
        let mut out = Vec::new();
        match connection.publish(&key, &mut out) {
            Step::Go => connection.run(out).await,
            Step::HandOver(home, key) => connection.hand_over(home, key),
            Step::End => connection.finish(out).await,
        }
    });
}

enum Step {
    Go,
    HandOver(usize, String),
    End,
}

struct Connection {
    edge: RtmpEdge,
    socket: Hosted<TcpStream>,
    session: Option<Box<RtmpSession>>,
    peer: SocketAddr,
    since: Instant,
    publication: Option<Publication>,
    kick: Option<Rc<Kick>>,
    graceful: bool,
    error: Option<String>,
}

impl Connection {
    fn new(edge: RtmpEdge, socket: Hosted<TcpStream>, session: Box<RtmpSession>, peer: SocketAddr) -> Self {
        edge.shard.borrow_mut().ingest_stats().open += 1;
        // Replies are small and an encoder waits for them.
        let _ = socket.io().set_nodelay(true);
        Self {
            edge,
            socket,
            session: Some(session),
            peer,
            since: Instant::now(),
            publication: None,
            kick: None,
            graceful: false,
            error: None,
        }
    }

    /// Reads until the encoder, the shard or a time limit ends it. `out` is written first.
    async fn run(mut self, mut out: Vec<u8>) {
        let mut buffer = vec![0; READ_LEN];
        loop {
            if self.socket.write_all(&out, Instant::now() + WRITE_PATIENCE).await.is_err() {
                return self.finish(Vec::new()).await;
            }
            out.clear();
            let Some(patience) = self.patience() else {
                self.error = Some("no publish within the handshake time".into());
                return self.finish(out).await;
            };
            let len = match self.socket.read(&mut buffer, Instant::now() + patience).await {
                Ok(0) => return self.ended(out).await,
                Ok(len) => len,
                Err(error) => {
                    self.error = Some(read_error(&error, self.publication.is_some()));
                    return self.ended(out).await;
                }
            };
            match self.received(buffer.get(..len).unwrap_or_default(), &mut out) {
                Step::Go => {}
                Step::HandOver(home, key) => return self.hand_over(home, key),
                Step::End => return self.finish(out).await,
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

    fn received(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        self.edge.shard.borrow_mut().ingest_stats().bytes += bytes.len() as u64;
        let Some(session) = &mut self.session else { return Step::End };
        let handled = session.handle_data(bytes, out);
        // Events that came before an error count: the last frames of a broken connection are good frames.
        let step = self.drain_events(out);
        if let Err(error) = handled {
            self.refuse(&error);
            return Step::End;
        }
        step
    }

    fn drain_events(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            let Some(event) = self.session.as_mut().and_then(|session| session.poll_event()) else { break Step::Go };
            match event {
                RtmpEvent::Publish { key, .. } => match self.publish(&key, out) {
                    Step::Go => {}
                    other => break other,
                },
                RtmpEvent::Metadata(metadata) => {
                    if let Some(publication) = &self.publication {
                        let mut shard = self.edge.shard.borrow_mut();
                        shard.with_inputs(|inputs, _| inputs.metadata(publication, &metadata));
                    }
                }
                RtmpEvent::Unit(unit) => {
                    let Some(publication) = &self.publication else { continue };
                    let mut shard = self.edge.shard.borrow_mut();
                    shard.tick_clock(Instant::now());
                    shard.ingest_stats().units += 1;
                    if !shard.with_inputs(|inputs, context| inputs.unit(context, publication, unit)) {
                        break Step::End;
                    }
                }
                RtmpEvent::Closed => {
                    self.graceful = true;
                    break Step::End;
                }
            }
        }
    }

    /// Answers a request to publish.
    fn publish(&mut self, key: &str, out: &mut Vec<u8>) -> Step {
        let admission = self.edge.shard.borrow_mut().admit(key);
        match admission {
            Admission::Elsewhere(home) => Step::HandOver(home, key.to_owned()),
            Admission::Refused { reason, input } => {
                if let Some(session) = &mut self.session {
                    session.reject(reason, out);
                }
                self.tell_refusal(input, reason);
                Step::End
            }
            Admission::Here(owner) => {
                let Ok(kicker) = self.socket.io().try_clone() else { return Step::End };
                let kick = Kick::new(kicker);
                self.kick = Some(kick.clone());
                let input = owner.entry.id.clone();
                {
                    let mut shard = self.edge.shard.borrow_mut();
                    shard.tick_clock(Instant::now());
                    let publication = shard.with_inputs(|inputs, context| inputs.start(context, &owner, key, kick));
                    self.publication = Some(publication);
                    shard.ingest_stats().accepted += 1;
                    let index = shard.index();
                    let peer = self.peer.to_string();
                    shard.event(&Event::IngestUp { input: input.clone(), shard: index, protocol: "rtmp".into(), peer });
                    info!(shard = index, input, peer = %self.peer, "encoder connected");
                }
                let accepted = self.session.as_mut().map(|session| session.accept(out));
                match accepted {
                    Some(Ok(())) => self.drain_events(out),
                    Some(Err(error)) => {
                        self.refuse(&error);
                        Step::End
                    }
                    None => Step::End,
                }
            }
        }
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

    fn hand_over(mut self, home: usize, key: String) {
        let (Some(session), Ok(socket)) = (self.session.take(), self.socket.io().try_clone()) else { return };
        let encoder = EncoderHandOver { socket, session, key, peer: self.peer };
        let mut shard = self.edge.shard.borrow_mut();
        if !shard.hand_over(home, encoder) {
            warn!(peer = %self.peer, home, "the home shard's box is full; the encoder has to connect again");
        }
    }

    /// The socket gave end of stream: the encoder is gone, or this side kicked it.
    async fn ended(mut self, mut out: Vec<u8>) {
        if let Some(reason) = self.kick.as_ref().and_then(|kick| kick.reason()) {
            if let Some(session) = &mut self.session {
                session.reject(&reason, &mut out);
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
        let mut sink = vec![0; READ_LEN];
        while Instant::now() < deadline && self.socket.read(&mut sink, deadline).await.is_ok_and(|len| len > 0) {}
    }

    fn leave(&mut self) {
        let Some(publication) = self.publication.take() else { return };
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
