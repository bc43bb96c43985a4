//! RTMP ingest: one listener a shard, one task a connection.
//!
//! ```text
//!   accept -> RtmpSession -> Publish{key} -> admit -> here: media -> inputs
//!                                             |-> elsewhere: socket and session move to the home shard
//!                                             '-> refused: told why, closed
//! ```

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use streams_ingest::{IngestError, RtmpEvent, RtmpLimits, RtmpSession};
use streams_rings::schema::Event;
use tracing::{debug, info, warn};

use crate::host::{Nap, Watch, clone_tcp, hosted_listener, hosted_tcp};
use crate::shard::{Admission, EncoderHandOver, Kick, Publication, Shard};

/// One read. An RTMP chunk is 4 KiB with most encoders; a key frame of a few hundred KiB takes a few dozen reads.
const READ_LEN: usize = 32 << 10;

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
    pub(crate) nap: Rc<Nap>,
    pub(crate) settings: Rc<RtmpSettings>,
}

/// Accepts encoders until the executor ends.
pub(crate) async fn listen(edge: RtmpEdge, listener: std::net::TcpListener) {
    let listener = hosted_listener(listener);
    loop {
        let socket = match listener.shared_accept().await {
            Ok(accepted) => accepted.bind_to_executor(),
            Err(error) => {
                warn!(%error, "an RTMP connection could not be accepted");
                glommio::timer::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let over = edge.shard.borrow_mut().ingest_stats().open >= edge.settings.connections_max as u64;
        // Over the limit the connection is closed at once: the encoder tries again by itself.
        let (Ok(peer), false) = (socket.peer_addr(), over) else {
            edge.shard.borrow_mut().ingest_stats().refused += 1;
            continue;
        };
        let edge = edge.clone();
        glommio::spawn_local(async move {
            let session = Box::new(RtmpSession::new(edge.settings.limits.clone()));
            Connection::new(edge, socket, session, peer).run(Vec::new()).await;
        })
        .detach();
    }
}

/// Takes over an encoder that another shard accepted: it has asked to publish and waits for the answer.
pub(crate) fn take_over(edge: RtmpEdge, encoder: EncoderHandOver) {
    glommio::spawn_local(async move {
        let EncoderHandOver { socket, session, key, peer } = encoder;
        let mut connection = Connection::new(edge, hosted_tcp(socket), session, peer);
        let mut out = Vec::new();
        match connection.publish(&key, &mut out) {
            Step::Go => connection.run(out).await,
            Step::HandOver(home, key) => connection.hand_over(home, key),
            Step::End => connection.finish(out).await,
        }
    })
    .detach();
}

enum Step {
    Go,
    HandOver(usize, String),
    End,
}

struct Connection {
    edge: RtmpEdge,
    socket: glommio::net::TcpStream,
    session: Option<Box<RtmpSession>>,
    peer: SocketAddr,
    since: Instant,
    publication: Option<Publication>,
    kick: Option<Rc<Kick>>,
    graceful: bool,
    error: Option<String>,
    /// Data on this connection wakes the shard. Without it (no descriptor left) the next nap's end does.
    _watch: Option<Watch>,
}

impl Connection {
    fn new(edge: RtmpEdge, socket: glommio::net::TcpStream, session: Box<RtmpSession>, peer: SocketAddr) -> Self {
        edge.shard.borrow_mut().ingest_stats().open += 1;
        // Replies are small and an encoder waits for them.
        let _ = socket.set_nodelay(true);
        let watch = clone_tcp(&socket).ok().map(|socket| edge.nap.watch(socket));
        Self {
            _watch: watch,
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
            if !out.is_empty() && self.socket.write_all(&out).await.is_err() {
                return self.finish(Vec::new()).await;
            }
            out.clear();
            let Some(patience) = self.patience() else {
                self.error = Some("no publish within the handshake time".into());
                return self.finish(out).await;
            };
            let _ = self.socket.set_read_timeout(Some(patience));
            let len = match self.socket.read(&mut buffer).await {
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
                let Ok(kicker) = clone_tcp(&self.socket) else { return Step::End };
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
        let (Some(session), Ok(socket)) = (self.session.take(), clone_tcp(&self.socket)) else { return };
        let encoder = EncoderHandOver { socket, session, key, peer: self.peer };
        let mut shard = self.edge.shard.borrow_mut();
        if !shard.hand_over(home, encoder) {
            warn!(peer = %self.peer, home, "the home shard's letter box is full; the encoder has to connect again");
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
            let _ = self.socket.set_write_timeout(Some(Duration::from_secs(1)));
            // The peer may be gone already.
            let _ = self.socket.write_all(&out).await;
            let _ = self.socket.flush().await;
            let _ = self.socket.shutdown(std::net::Shutdown::Write).await;
            self.drain_rest().await;
        }
    }

    /// Reads what the encoder still had on its way: closing with unread bytes would reset the connection, and with it the
    /// words just written.
    async fn drain_rest(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut sink = vec![0; READ_LEN];
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let _ = self.socket.set_read_timeout(Some(left));
            match self.socket.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
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
