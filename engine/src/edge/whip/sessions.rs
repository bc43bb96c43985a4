//! The sessions of a shard, and what HTTP asks of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use http::StatusCode;
use http::header::{ETAG, LINK, LOCATION};
use streams_ingest::whip::{IceAddresses, IceCredentials, OfferError, WhipLimits, local_ufrag};
use streams_ingest::{IceFragment, WhipSession};
use tracing::debug;

use super::super::encoder::Encoder;
use super::super::http::Reply;
use super::super::line::DatagramLine;
use super::letter::Offered;
use super::live::Live;
use super::{WhipEdge, random_hex, unavailable};
use crate::broadcast::Kick;
use crate::edge::line::Line;
use crate::last_words::contained;

/// Restarts of ICE that one session may have: each keeps its name.
const RESTARTS_MAX: usize = 64;

/// Every session, by its token, and how datagrams find it.
#[derive(Default)]
pub(super) struct Sessions {
    live: HashMap<String, Live>,
    by_ufrag: HashMap<String, String>,
    by_peer: HashMap<SocketAddr, String>,
}

impl Sessions {
    /// The session of a datagram: a STUN request names it, anything else comes from a peer that such a request came from.
    fn token_of(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<String> {
        if let Some(ufrag) = local_ufrag(datagram) {
            let token = self.by_ufrag.get(ufrag)?.clone();
            let is_known = self.live.get_mut(&token).is_some_and(|live| live.knows(from));
            if is_known && self.by_peer.get(&from) != Some(&token) {
                self.by_peer.insert(from, token.clone());
            }
            return is_known.then_some(token);
        }
        self.by_peer.get(&from).cloned()
    }

    fn remove(&mut self, token: &str) -> Option<Live> {
        let live = self.live.remove(token)?;
        for ufrag in live.old_ufrags.iter().chain([&live.ufrag]) {
            self.by_ufrag.remove(ufrag);
        }
        for peer in &live.peers {
            if self.by_peer.get(peer).is_some_and(|owner| owner == token) {
                self.by_peer.remove(peer);
            }
        }
        Some(live)
    }

    /// When one of them has something to do.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.live.values_mut().filter_map(Live::due).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

impl WhipEdge {
    /// A datagram at this shard's port.
    pub(super) fn datagram(&self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(token) = sessions.token_of(from, datagram) else {
            self.shard.borrow_mut().edge_stats().webrtc_strangers += 1;
            return;
        };
        self.shard.borrow_mut().edge_stats().webrtc_datagrams += 1;
        let Some(live) = sessions.live.get_mut(&token) else { return };
        if !live.datagram(now, from, datagram, &self.socket) {
            self.end(&mut sessions, &token);
        }
    }

    /// Lets every session that is due act on the time.
    pub(super) fn pass_time(&self, now: Instant) {
        let mut sessions = self.sessions.borrow_mut();
        let due = |live: &mut Live| live.is_ended() || live.due().is_some_and(|due| due <= now);
        let tokens: Vec<String> =
            sessions.live.iter_mut().filter_map(|(token, live)| due(live).then(|| token.clone())).collect();
        for token in tokens {
            if sessions.live.get_mut(&token).is_some_and(|live| !live.time(now, &self.socket)) {
                self.end(&mut sessions, &token);
            }
        }
    }

    fn end(&self, sessions: &mut Sessions, token: &str) {
        let Some(mut live) = sessions.remove(token) else { return };
        live.encoder.leave();
        let mut shard = self.shard.borrow_mut();
        let stats = shard.edge_stats();
        stats.webrtc_open = stats.webrtc_open.saturating_sub(1);
        stats.webrtc_failed += u64::from(!live.connected);
        debug!(input = live.input, counters = ?live.encoder.session_mut().counters(), "WebRTC session over");
        // It counts itself out at the shard.
        drop(shard);
        drop(live);
    }

    /// A new session.
    pub(super) fn offer(&self, now: Instant, offered: Offered) -> Reply {
        let Offered { input, key, offer, peer, local } = offered;
        let hook = Rc::new(DatagramLine::default());
        let place = {
            let mut shard = self.shard.borrow_mut();
            self.door.enter(peer.ip(), &hook, &mut shard.ingest_stats().refused)
        };
        let Some(place) = place else {
            return unavailable("too many offers wait for their WebRTC connection; try again");
        };
        let (ice, addresses) = match (self.credentials(), self.addresses(local)) {
            (Some(ice), Some(addresses)) => (ice, addresses),
            _ => return unavailable("no session can be made now; try again"),
        };
        let limits =
            WhipLimits { connect_timeout: self.settings.connect_timeout, idle_timeout: self.settings.idle_timeout };
        let accepted = contained(|| WhipSession::accept(now, &offer, key, &ice, addresses, None, limits));
        let malformed = || Err(OfferError::Malformed("it cannot be read".to_owned()));
        let (session, answer) = match accepted.unwrap_or_else(malformed) {
            Ok(accepted) => accepted,
            Err(error) => return refusal(&error),
        };
        let kick = Kick::new(Rc::clone(&hook) as Rc<dyn Line>);
        let encoder = Encoder::new(self.shard.clone(), Box::new(session), place, peer, kick);
        let token = format!("{:02x}{}", self.shard.borrow().index(), random_hex::<16>());
        let live = Live::new(encoder, hook, input.clone(), ice.ufrag.clone());
        let etag = live.etag();
        {
            let mut sessions = self.sessions.borrow_mut();
            sessions.by_ufrag.insert(ice.ufrag, token.clone());
            sessions.live.insert(token.clone(), live);
        }
        self.shard.borrow_mut().edge_stats().webrtc_open += 1;
        let reply = Reply::content(StatusCode::CREATED, "application/sdp", answer)
            .with(LOCATION, format!("/whip/{input}/{token}"))
            .with(ETAG, etag);
        self.settings
            .ice_servers
            .iter()
            .fold(reply, |reply, server| reply.with(LINK, format!("<{server}>; rel=\"ice-server\"")))
    }

    /// More candidates, or another generation of ICE (RFC 9725 §4.3).
    pub(super) fn patch(&self, now: Instant, token: &str, if_match: Option<&str>, fragment: &IceFragment) -> Reply {
        let mut sessions = self.sessions.borrow_mut();
        let Some(live) = sessions.live.get_mut(token) else { return no_session() };
        let Some(if_match) = if_match else {
            let detail = "send If-Match with the session's ETag, or with * for an ICE restart";
            return Reply::problem(StatusCode::PRECONDITION_REQUIRED, "precondition_required", detail);
        };
        let is_other = |ufrag: &String| live.encoder.session_mut().peer_ufrag() != Some(ufrag.as_str());
        let restarts = fragment.ufrag.as_ref().is_some_and(is_other);
        // A client that restarts does not know what it will be, and names any (§4.3.3).
        if if_match != live.etag() && !(if_match == "*" && restarts) {
            let detail = "another generation of ICE is in force; its ETag came with the 201 or the last restart";
            return Reply::problem(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail);
        }
        if !restarts {
            if !live.trickle(now, fragment, &self.socket) {
                self.end(&mut sessions, token);
                return no_session();
            }
            return Reply::empty(StatusCode::NO_CONTENT);
        }
        let Some(ice) = self.credentials().filter(|_| live.old_ufrags.len() < RESTARTS_MAX) else {
            return unavailable("this session was restarted too often; make a new one");
        };
        match live.restart(now, fragment, &ice, &self.socket) {
            Ok(answer) => {
                let reply = Reply::content(StatusCode::OK, "application/trickle-ice-sdpfrag", answer);
                let reply = reply.with(ETAG, live.etag());
                sessions.by_ufrag.insert(ice.ufrag, token.to_owned());
                reply
            }
            Err(error) => refusal(&error),
        }
    }

    /// The end of a session; its token is over too.
    pub(super) fn delete(&self, _now: Instant, token: &str) -> Reply {
        let mut sessions = self.sessions.borrow_mut();
        let Some(live) = sessions.live.get_mut(token) else { return no_session() };
        live.delete(&self.socket);
        self.end(&mut sessions, token);
        Reply::empty(StatusCode::OK)
    }

    fn credentials(&self) -> Option<IceCredentials> {
        let (name, pwd) = (random_hex::<8>(), random_hex::<16>());
        let ufrag = format!("{:02x}{name}", self.shard.borrow().index());
        (!name.is_empty() && !pwd.is_empty()).then_some(IceCredentials { ufrag, pwd })
    }

    /// Where this shard's port is reached: the address that it is bound to, else the one that the client reached by HTTPS.
    fn addresses(&self, local: SocketAddr) -> Option<IceAddresses> {
        let mut bound = self.socket.local_addr().ok()?;
        if bound.ip().is_unspecified() {
            bound.set_ip(local.ip().to_canonical());
        }
        let public = self.settings.public_address.map(|address| SocketAddr::new(address, bound.port()));
        let public = public.filter(|public| *public != bound && public.is_ipv4() == bound.is_ipv4());
        Some(IceAddresses { bound, public })
    }
}

fn no_session() -> Reply {
    Reply::not_found("there is no such session; it may be over")
}

fn refusal(error: &OfferError) -> Reply {
    let (status, kind) = match error {
        OfferError::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        OfferError::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        OfferError::Unacceptable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unacceptable_offer"),
    };
    Reply::problem(status, kind, error.to_string())
}
