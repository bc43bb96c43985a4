//! One session at its shard: the peer connection, and the encoder that it is to everybody else.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use streams_ingest::whip::{IceCredentials, OfferError};
use streams_ingest::{IceFragment, IngestError, Session, WhipSession};

use super::super::encoder::{Encoder, Step};
use super::super::line::DatagramLine;
use crate::host::HostedSocket;
use crate::last_words::contained;

/// Peers of one session that datagrams are taken from without a look inside. A phone that changes networks has had two or three.
const PEERS_MAX: usize = 16;

/// One session.
pub(super) struct Live {
    pub(super) encoder: Encoder<WhipSession>,
    hook: Rc<DatagramLine>,
    pub(super) input: String,
    /// The present generation of ICE.
    pub(super) ufrag: String,
    /// Generations before it.
    pub(super) old_ufrags: Vec<String>,
    pub(super) peers: Vec<SocketAddr>,
    pub(super) connected: bool,
    /// A library panicked in it.
    broken: bool,
}

impl Live {
    pub(super) fn new(encoder: Encoder<WhipSession>, hook: Rc<DatagramLine>, input: String, ufrag: String) -> Self {
        let (old_ufrags, peers) = (Vec::new(), Vec::new());
        Self { encoder, hook, input, ufrag, old_ufrags, peers, connected: false, broken: false }
    }

    /// The entity tag of the present generation.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.ufrag)
    }

    /// Remembers a peer. False: it has had enough of them.
    pub(super) fn knows(&mut self, peer: SocketAddr) -> bool {
        if self.peers.contains(&peer) {
            return true;
        }
        let room = self.peers.len() < PEERS_MAX;
        if room {
            self.peers.push(peer);
        }
        room
    }

    /// A datagram of it. False: it is over.
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], socket: &HostedSocket) -> bool {
        let done = self.contain(|session| session.handle_datagram(now, from, datagram));
        self.settle(datagram.len(), done, socket)
    }

    /// Time passed. False: it is over.
    pub(super) fn time(&mut self, now: Instant, socket: &HostedSocket) -> bool {
        if self.hook.is_ended() {
            self.encoder.ended(&mut Vec::new());
            self.flush(socket);
            return false;
        }
        if self.encoder.session_mut().next_timeout().is_none_or(|due| now < due) {
            return true;
        }
        let done = self.contain(|session| session.handle_timeout(now));
        self.settle(0, done, socket)
    }

    /// More candidates. False: it is over.
    pub(super) fn trickle(&mut self, now: Instant, fragment: &IceFragment, socket: &HostedSocket) -> bool {
        let done = self.contain(|session| session.trickle(now, fragment));
        self.settle(0, done, socket)
    }

    /// Another generation of ICE: the fragment to answer with.
    pub(super) fn restart(
        &mut self,
        now: Instant,
        fragment: &IceFragment,
        ice: &IceCredentials,
        socket: &HostedSocket,
    ) -> Result<String, OfferError> {
        let session = self.encoder.session_mut();
        let restarted = contained(|| session.restart(now, fragment, ice));
        self.broken |= restarted.is_none();
        let answer = restarted.unwrap_or_else(|| Err(OfferError::Malformed("it cannot be read".to_owned())))?;
        self.old_ufrags.push(std::mem::replace(&mut self.ufrag, ice.ufrag.clone()));
        self.flush(socket);
        Ok(answer)
    }

    /// The broadcaster ends it.
    pub(super) fn delete(&mut self, socket: &HostedSocket) {
        self.encoder.session_mut().delete();
        self.settle(0, Ok(()), socket);
    }

    /// When [`Live::time`] has something to do.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.encoder.session_mut().next_timeout()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.hook.is_ended()
    }

    fn contain(&mut self, work: impl FnOnce(&mut WhipSession) -> Result<(), IngestError>) -> Result<(), IngestError> {
        let session = self.encoder.session_mut();
        let done = contained(|| work(session));
        self.broken |= done.is_none();
        done.unwrap_or_else(|| Err(IngestError::Webrtc { what: "a defect of the WebRTC library".to_owned() }))
    }

    fn settle(&mut self, len: usize, done: Result<(), IngestError>, socket: &HostedSocket) -> bool {
        let step = self.encoder.settle(len, done);
        self.connected |= self.encoder.is_publishing();
        self.flush(socket);
        match step {
            Step::Go => true,
            Step::HandOver(..) => {
                self.encoder.fail("another shard became the home of this input; connect again");
                false
            }
            Step::End => false,
        }
    }

    fn flush(&mut self, socket: &HostedSocket) {
        while !self.broken
            && let Some((to, datagram)) = self.encoder.session_mut().poll_datagram()
        {
            // A network that takes nothing is one that loses it.
            let _ = socket.send(&datagram, to);
        }
    }
}
