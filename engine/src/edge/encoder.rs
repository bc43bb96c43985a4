//! One encoder, whatever it speaks: its session, its admission, what becomes of its media, and how it leaves.
//!
//! ```text
//!   input -> take: slices -> Session -> Publish{key} -> admit -> here: media -> inputs
//!                                                         |-> elsewhere: it moves to the home shard
//!                                                         '-> refused: told why, closed
//! ```
//!
//! Its protocol's listener reads and writes; nothing in here knows a socket.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use futures_lite::future;
use streams_contract::{Event, Protocol};
use streams_ingest::{Answer, IngestError, Refusal, Session, SessionEvent};
use tracing::{debug, info};

use super::door::Place;
use crate::broadcast::{Admission, Kick, Publication};
use crate::directory::KeyOwner;
use crate::shard::Shard;

/// Events of a session that are handled at a time: a frame that is packaged and handed to the relay takes some ten microseconds.
const EVENTS_A_SLICE: usize = 16;
/// Told to an encoder with a good key for which there is no room.
const NO_PLACE: &str =
    "this server has as many encoders as it takes; connect to another one or raise [ingest] connections_max";

/// What comes next for an encoder.
pub(crate) enum Step {
    /// More input.
    Go,
    /// Its home is that shard; the stream key it gave.
    HandOver(usize, String),
    /// Its last words, and the end.
    End,
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

/// An encoder's connection as the shard sees it.
pub(crate) struct Encoder<S: Session + ?Sized = dyn Session> {
    shard: Rc<RefCell<Shard>>,
    session: Box<S>,
    _open: Open,
    protocol: Protocol,
    place: Place,
    peer: SocketAddr,
    kick: Rc<Kick>,
    publication: Option<Publication>,
    /// The input that the request names beside its key.
    named: String,
    graceful: bool,
    error: Option<String>,
}

/// Bytes of a datagram's length in what is to be sent.
const LEN_LEN: usize = 2;

/// The datagrams in what a session of a datagram protocol has to say.
pub(crate) fn datagrams(mut out: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = out.split_first_chunk::<LEN_LEN>()?;
        let (datagram, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        out = rest;
        Some(datagram)
    })
}

impl<S: Session + ?Sized> Encoder<S> {
    /// A connection from `peer` that has a place. `kick` ends its transport.
    pub(crate) fn new(
        shard: Rc<RefCell<Shard>>,
        session: Box<S>,
        place: Place,
        peer: SocketAddr,
        kick: Rc<Kick>,
    ) -> Self {
        let _open = Open::count(&shard);
        let protocol = Protocol::from(session.protocol().name());
        let (publication, named, graceful, error) = (None, String::new(), false, None);
        Self { shard, session, _open, protocol, place, peer, kick, publication, named, graceful, error }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Its request to publish was accepted and is not over.
    pub(crate) fn is_publishing(&self) -> bool {
        self.publication.is_some()
    }

    /// Why it ends, where nothing else says so.
    pub(crate) fn fail(&mut self, reason: impl Into<String>) {
        self.error = Some(reason.into());
    }

    /// The session, which moves on to another shard; the place here is free again.
    pub(crate) fn into_session(self) -> Box<S> {
        self.session
    }

    /// The session, for what its own protocol does beside media. [`Encoder::settle`] afterwards.
    pub(crate) fn session_mut(&mut self) -> &mut S {
        &mut self.session
    }

    /// Handles what one datagram of `len` bytes, or time, has brought about. `broken` is what the session said to it.
    pub(crate) fn settle(&mut self, len: usize, broken: Result<(), IngestError>) -> Step {
        self.shard.borrow_mut().ingest_stats().bytes += len as u64;
        let mut out = Vec::new();
        let step = loop {
            match self.drain_events(&mut out) {
                Drained::Some => {}
                Drained::Step(step) => break step,
                Drained::All if broken.is_err() => break Step::End,
                Drained::All => break Step::Go,
            }
        };
        if let Err(error) = &broken {
            self.refuse(error);
        }
        step
    }

    /// Handles `input` slice by slice and lets the others have their turn in between. What is left of it then is not handled yet.
    /// What is to be sent is appended to `out`.
    pub(crate) async fn take(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Step {
        let (mut taken, mut broken) = (0, None);
        let step = loop {
            match self.drain_events(out) {
                Drained::Some => {}
                Drained::Step(step) => break step,
                // Events that came before an error count: the last frames of a broken connection are good frames.
                Drained::All if broken.is_some() => break Step::End,
                Drained::All => {
                    let rest = input.get(taken..).unwrap_or_default();
                    if rest.is_empty() && !self.session.is_behind() {
                        break Step::Go;
                    }
                    let handled = self.session.handle_input(Instant::now(), rest);
                    self.transmit(out);
                    match handled {
                        Ok(used) => {
                            taken += used;
                            self.shard.borrow_mut().ingest_stats().bytes += used as u64;
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

    /// When a datagram protocol's session is due at the latest.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.session.next_timeout()
    }

    /// Handles one datagram, or the time for `None`. What is to be sent is appended to `out`: see [`datagrams`]. The others have
    /// their turn in between only while there is more than one datagram's work.
    pub(crate) async fn datagram(&mut self, datagram: Option<&[u8]>, out: &mut Vec<u8>) -> Step {
        let now = Instant::now();
        let handled = match datagram {
            Some(datagram) => self.session.handle_input(now, datagram).map(|used| {
                self.shard.borrow_mut().ingest_stats().bytes += used as u64;
            }),
            None => self.session.handle_timeout(now),
        };
        let mut broken = handled.err();
        let step = loop {
            self.transmit(out);
            match self.drain_events(out) {
                Drained::Some => {}
                Drained::Step(step) => break step,
                Drained::All if broken.is_some() => break Step::End,
                Drained::All if !self.session.is_behind() => break Step::Go,
                Drained::All => broken = self.session.handle_input(Instant::now(), &[]).err(),
            }
            future::yield_now().await;
        };
        self.transmit(out);
        if let Some(error) = &broken {
            self.refuse(error);
        }
        step
    }

    /// Shows how its datagrams come through.
    pub(crate) fn tell_link(&mut self) {
        if let (Some(publication), Some(link)) = (&self.publication, self.session.link()) {
            self.shard.borrow_mut().with_inputs(|inputs, _| inputs.link(publication, &link));
        }
    }

    /// Appends what the session has to say; each datagram of one with datagrams behind its length.
    fn transmit(&mut self, out: &mut Vec<u8>) {
        if self.protocol != Protocol::Srt {
            self.session.poll_transmit(out);
            return;
        }
        loop {
            let from = out.len();
            out.extend([0; LEN_LEN]);
            if !self.session.poll_transmit(out) {
                return out.truncate(from);
            }
            let len = out.len().saturating_sub(from).saturating_sub(LEN_LEN);
            let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
            out.iter_mut().skip(from).zip(len).for_each(|(slot, byte)| *slot = byte);
        }
    }

    /// Answers a request to publish with this stream key.
    pub(crate) fn publish(&mut self, key: &str, out: &mut Vec<u8>) -> Step {
        let admission = self.shard.borrow_mut().admit(&self.protocol, key);
        let owner = match admission {
            Admission::Elsewhere(home) => return Step::HandOver(home, key.to_owned()),
            Admission::Refused { reason, input, refusal } => return self.decline(refusal, input, &reason, out),
            Admission::Here(owner) => owner,
        };
        let input = owner.entry.id.clone();
        if let Err((refusal, reason)) = self.check(&owner) {
            self.shard.borrow_mut().with_inputs(|inputs, _| inputs.unclaim(&owner));
            return self.decline(refusal, Some(input), &reason, out);
        }
        {
            let mut shard = self.shard.borrow_mut();
            shard.tick_clock(Instant::now());
            let (protocol, kick) = (self.protocol.clone(), self.kick.clone());
            self.publication =
                Some(shard.with_inputs(|inputs, context| inputs.start(context, &owner, key, protocol, kick)));
            shard.ingest_stats().accepted += 1;
            let (index, peer) = (shard.index(), self.peer.to_string());
            info!(shard = index, input, peer, protocol = %self.protocol, "encoder connected");
            shard.event(&Event::IngestUp { input, shard: index, protocol: self.protocol.clone(), peer });
        }
        let accepted = self.session.answer(Answer::Accept);
        self.transmit(out);
        match accepted {
            Ok(()) => Step::Go,
            Err(error) => {
                self.refuse(&error);
                Step::End
            }
        }
    }

    /// The input that the request names is the key's, its encryption is the input's, and there is room.
    fn check(&mut self, owner: &KeyOwner) -> Result<(), (Refusal, String)> {
        if self.protocol == Protocol::Srt && !self.named.is_empty() && self.named != owner.entry.id {
            return Err((
                Refusal::NotFound,
                "the stream key is not that of the input which the stream id names".into(),
            ));
        }
        let passphrase = owner.entry.srt_passphrase.get();
        self.session.unlock(passphrase).map_err(|error| (Refusal::Key, error.to_string()))?;
        self.place.publish(&owner.entry.id).map_err(|_| (Refusal::Full, NO_PLACE.into()))
    }

    /// The transport is over: the encoder is gone, or was kicked and is told why.
    pub(crate) fn ended(&mut self, out: &mut Vec<u8>) {
        if let Some(reason) = self.kick.reason() {
            self.say_no(Refusal::Other, &reason, out);
            self.error = Some(reason);
        }
    }

    /// It publishes no more.
    pub(crate) fn leave(&mut self) {
        let Some(publication) = self.publication.take() else { return };
        self.place.finish();
        let mut shard = self.shard.borrow_mut();
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

    /// Handles some of the events that wait.
    fn drain_events(&mut self, out: &mut Vec<u8>) -> Drained {
        for _ in 0..EVENTS_A_SLICE {
            let Some(event) = self.session.poll_event() else { return Drained::All };
            match self.event(event, out) {
                Step::Go => {}
                other => return Drained::Step(other),
            }
        }
        Drained::Some
    }

    fn event(&mut self, event: SessionEvent, out: &mut Vec<u8>) -> Step {
        match event {
            SessionEvent::Publish(request) => {
                self.named = request.app;
                return self.publish(&request.key, out);
            }
            SessionEvent::Closed => {
                self.graceful = true;
                return Step::End;
            }
            SessionEvent::Metadata(metadata) => {
                if let Some(publication) = &self.publication {
                    let mut shard = self.shard.borrow_mut();
                    shard.with_inputs(|inputs, _| inputs.metadata(publication, &metadata));
                }
            }
            SessionEvent::Notice(notice) => {
                if let Some(publication) = &self.publication {
                    let mut shard = self.shard.borrow_mut();
                    shard.tick_clock(Instant::now());
                    shard.with_inputs(|inputs, context| inputs.notice(context, publication, notice));
                }
            }
            SessionEvent::Unit(unit) => {
                let Some(publication) = &self.publication else { return Step::Go };
                let mut shard = self.shard.borrow_mut();
                shard.tick_clock(Instant::now());
                shard.ingest_stats().units += 1;
                if !shard.with_inputs(|inputs, context| inputs.unit(context, publication, unit)) {
                    return Step::End;
                }
            }
        }
        Step::Go
    }

    /// Says no to a request to publish.
    fn decline(&mut self, refusal: Refusal, input: Option<String>, reason: &str, out: &mut Vec<u8>) -> Step {
        self.say_no(refusal, reason, out);
        self.tell_refusal(input, reason);
        Step::End
    }

    fn say_no(&mut self, refusal: Refusal, reason: &str, out: &mut Vec<u8>) {
        // A session that is over already has nothing to say.
        let _ = self.session.answer(Answer::RefuseAs(refusal, reason));
        self.transmit(out);
    }

    /// Media or protocol that cannot be used: named in the log and in the input's status.
    fn refuse(&mut self, error: &IngestError) {
        let reason = error.to_string();
        let input = self.publication.as_ref().map(|publication| publication.input.clone());
        debug!(peer = %self.peer, protocol = %self.protocol, reason, "connection refused");
        self.error = Some(reason.clone());
        self.tell_refusal(input, &reason);
    }

    fn tell_refusal(&self, input: Option<String>, reason: &str) {
        let mut shard = self.shard.borrow_mut();
        shard.ingest_stats().refused += 1;
        let index = shard.index();
        info!(shard = index, peer = %self.peer, input, reason, "encoder refused");
        if let Some(input) = &input {
            shard.with_inputs(|inputs, context| inputs.refused(input, context.unix_ms, reason));
        }
        let (reason, peer) = (reason.to_owned(), self.peer.to_string());
        shard.event(&Event::IngestRefused { input, shard: index, reason, peer });
    }
}

/// Counts a connection for as long as it lives.
struct Open(Rc<RefCell<Shard>>);

impl Open {
    fn count(shard: &Rc<RefCell<Shard>>) -> Self {
        shard.borrow_mut().ingest_stats().open += 1;
        Self(shard.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut shard = self.0.borrow_mut();
        let stats = shard.ingest_stats();
        stats.open = stats.open.saturating_sub(1);
    }
}
