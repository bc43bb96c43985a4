//! What the relay keeps for one session.

pub(super) mod deadlines;
pub(super) mod lifecycle;
pub(super) mod operator;
pub(super) mod pump;
pub(super) mod receive;
pub(super) mod receiving;
pub(super) mod request;
pub(super) mod requests;
pub(super) mod seen;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::send::SendBuffer;
use crate::wire::{ControlMessage, Draft, Namespace, Parameters, PublishNamespace, StreamResetCode};

use receiving::{EarlyStream, Receive, Receiving};
use request::{Request, RequestKind};
use seen::SeenIds;

use crate::relay::auth::Scope;
use crate::relay::auth::grant::{Grant, TokenId};
use crate::relay::keys::{FetchKey, RequestKey, SubscriptionKey, TenantKey, TrackKey};
use crate::relay::publish::unresolved::Unresolved;
use crate::relay::slab::Slab;
use crate::relay::subscribe::datagram_queue::DatagramQueue;
use crate::relay::subscribe::fetch_out::FetchOut;
use crate::relay::subscribe::subscription::Subscription;
use crate::relay::{SessionConfig, SessionId};
use crate::transmit::StreamId;

/// Streams of a session that may stay half open, for the peer to end its half of a request that is over; further ones are
/// stopped. Half the request streams that the transport lets a peer have open, so that these never use them up.
const HALF_OPEN_MAX: usize = 64;

/// Streams stopped before their first byte that are remembered: as many as a transport lets a peer have open.
const STOPPED_EARLY_MAX: usize = 128;

/// How far a session got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for the peer's SETUP.
    Setup,
    /// Both SETUPs are through.
    Ready,
    /// To be closed by the next pump, then only remembered until the transport is gone.
    Closing { code: u64, reason: String, told: bool },
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) config: SessionConfig,
    pub(crate) phase: Phase,
    pub(crate) scope: Option<Scope>,
    /// Whose share of what all have in common it uses.
    pub(crate) tenant: TenantKey,
    /// Bytes that publishers sent for its FETCHes, as they are counted for the tenant.
    pub(crate) pulled_counted: usize,
    /// Tokens that count it among their sessions.
    pub(crate) places: Vec<TokenId>,
    pub(crate) control: SendBuffer,
    pub(crate) control_stream: Option<StreamId>,
    /// The peer's control stream was seen.
    pub(crate) peer_control: bool,
    pub(crate) goaway_received: bool,
    pub(crate) goaway_sent: bool,
    pub(crate) receive: Receiving,
    pub(crate) early: VecDeque<EarlyStream>,
    /// Bytes of those.
    pub(crate) early_len: usize,
    /// Subgroup streams whose alias is unknown so far.
    pub(crate) unresolved: Unresolved,
    pub(crate) requests: Slab<RequestKey, Request>,
    pub(crate) request_by_stream: HashMap<StreamId, RequestKey>,
    pub(crate) request_by_id: HashMap<u64, RequestKey>,
    pub(crate) flush: VecDeque<RequestKey>,
    /// Requests whose stream takes nothing any more: the peer stopped it before it was known what it is.
    pub(crate) lost: Vec<RequestKey>,
    /// Streams that the peer stopped before any byte of them came: what comes on them is not answered.
    stopped_early: VecDeque<StreamId>,
    /// Peer's streams to stop, and streams of ours to reset, at the next pump.
    pub(crate) stops: Vec<(StreamId, u64)>,
    pub(crate) resets: Vec<(StreamId, u64)>,
    /// Objects that leave in datagrams.
    pub(crate) datagrams: DatagramQueue,
    pub(crate) seen: SeenIds,
    /// Our next request id.
    pub(crate) next_id: u64,
    pub(crate) subscriptions: Slab<SubscriptionKey, Subscription>,
    pub(crate) fetches: Slab<FetchKey, FetchOut>,
    /// Tracks by the aliases that the peer chose.
    pub(crate) aliases: HashMap<u64, TrackKey>,
    /// Share of the request that was served last, when that began: new ones start from here.
    pub(crate) virtual_time: u64,
    /// It is in the relay's dirty list.
    pub(crate) dirty: bool,
    pub(crate) opened_at: Instant,
    /// A request was accepted.
    pub(crate) used: bool,
    /// The engine was told that it publishes.
    pub(crate) publishing: bool,
    /// What it publishes outlives it ([`crate::relay::publish::held`]).
    pub(crate) keeps: bool,
    pub(crate) goaway_deadline: Option<Instant>,
    /// When a stream has to be looked at although nothing new has come for it.
    pub(crate) wake_at: Option<Instant>,
    /// The earliest timer that is set for this session.
    pub(crate) timer_at: Option<Instant>,
}

impl Session {
    pub(crate) fn new(now: Instant, id: SessionId, config: SessionConfig, tenant: TenantKey) -> Self {
        Self {
            id,
            config,
            phase: Phase::Setup,
            scope: None,
            tenant,
            pulled_counted: 0,
            places: Vec::new(),
            control: SendBuffer::default(),
            control_stream: None,
            peer_control: false,
            goaway_received: false,
            goaway_sent: false,
            receive: Receiving::default(),
            early: VecDeque::new(),
            early_len: 0,
            unresolved: Unresolved::default(),
            requests: Slab::default(),
            request_by_stream: HashMap::new(),
            request_by_id: HashMap::new(),
            flush: VecDeque::new(),
            lost: Vec::new(),
            stopped_early: VecDeque::new(),
            stops: Vec::new(),
            resets: Vec::new(),
            datagrams: DatagramQueue::default(),
            seen: SeenIds::default(),
            // MoQT-18 §10.1: the server generates odd request ids, starting at 1.
            next_id: 1,
            subscriptions: Slab::default(),
            fetches: Slab::default(),
            aliases: HashMap::new(),
            virtual_time: 0,
            dirty: false,
            opened_at: now,
            used: false,
            publishing: false,
            keeps: false,
            goaway_deadline: None,
            wake_at: None,
            timer_at: None,
        }
    }

    /// The peer wants no answer on a stream of which nothing came.
    pub(crate) fn stop_early(&mut self, stream: StreamId) {
        self.stopped_early.push_back(stream);
        if self.stopped_early.len() > STOPPED_EARLY_MAX {
            self.stopped_early.pop_front();
        }
    }

    pub(crate) fn is_stopped_early(&self, stream: StreamId) -> bool {
        self.stopped_early.contains(&stream)
    }

    pub(crate) fn draft(&self) -> Draft {
        self.config.draft
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// A request of ours, sent as soon as a stream can be opened for it. `message` gets its request id.
    pub(crate) fn open_request(
        &mut self,
        kind: RequestKind,
        message: impl FnOnce(u64) -> ControlMessage,
    ) -> RequestKey {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(2);
        let mut out = SendBuffer::default();
        let fits = out.push(self.config.draft, &message(id));
        let cancel = (!fits).then_some(StreamResetCode::Internal.to_u64());
        let request = Request {
            stream: None,
            id,
            out,
            kind,
            deadline: None,
            cancel,
            queued: true,
            receiving: true,
            grant: None,
            reads: None,
        };
        let key = self.requests.insert(request);
        self.flush.push_back(key);
        key
    }

    /// Offers a namespace to the peer by PUBLISH_NAMESPACE.
    pub(crate) fn announce_namespace(&mut self, namespace: Namespace) {
        let parameters = Parameters::default();
        self.open_request(RequestKind::OurNamespace, |request_id| {
            ControlMessage::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
        });
    }

    /// Puts a message on the control stream. SETUP and GOAWAY of ours always fit the wire.
    pub(crate) fn say(&mut self, message: &ControlMessage) {
        let fits = self.control.push(self.config.draft, message);
        debug_assert!(fits, "{message:?}");
    }

    /// Puts an answer on a request's stream; one that does not fit the wire cancels the request.
    pub(crate) fn answer(&mut self, request: RequestKey, message: &ControlMessage) {
        let draft = self.config.draft;
        if let Some(state) = self.requests.get_mut(request)
            && !state.out.push(draft, message)
        {
            state.cancel = Some(StreamResetCode::Internal.to_u64());
        }
        self.queue_flush(request);
    }

    /// Ends our half of a request's stream after what was answered.
    pub(crate) fn finish_request(&mut self, request: RequestKey) {
        if let Some(state) = self.requests.get_mut(request) {
            state.out.finish();
            state.close();
        }
        self.queue_flush(request);
    }

    /// Resets and stops a request's stream.
    pub(crate) fn cancel_request(&mut self, request: RequestKey, code: u64) {
        if let Some(state) = self.requests.get_mut(request) {
            state.cancel = Some(code);
            state.close();
        }
        self.queue_flush(request);
    }

    pub(crate) fn queue_flush(&mut self, request: RequestKey) {
        if let Some(state) = self.requests.get_mut(request)
            && !state.queued
        {
            state.queued = true;
            self.flush.push_back(request);
        }
    }

    /// Removes a request whose stream has nothing left to send.
    pub(crate) fn forget_request(&mut self, request: RequestKey) {
        if let Some(state) = self.requests.remove(request) {
            self.request_by_id.remove(&state.id);
            if let Some(stream) = state.stream {
                self.request_by_stream.remove(&stream);
                if !state.receiving {
                    self.receive.remove(stream);
                } else if self.receive.contains(stream) {
                    self.receive.insert(stream, Receive::Ignored);
                    if self.receive.stream_count() > HALF_OPEN_MAX {
                        self.stops.push((stream, StreamResetCode::Cancelled.to_u64()));
                    }
                }
            }
        }
    }

    /// The track is no longer taken from this session: what its alias names from now on is dropped.
    pub(crate) fn forget_aliases(&mut self, track: TrackKey) {
        self.aliases.retain(|alias, known| {
            if *known == track {
                self.unresolved.drop_alias(*alias);
            }
            *known != track
        });
    }

    /// Bytes that wait for the peer to read them.
    pub(crate) fn send_len(&self) -> usize {
        self.control.len() + self.requests.iter().map(|(_, request)| request.out.len()).sum::<usize>()
    }

    /// The key of the subscription to `track`, if there is one.
    pub(crate) fn subscription_to(&self, track: TrackKey) -> Option<SubscriptionKey> {
        self.subscriptions.iter().find(|(_, subscription)| subscription.track == track).map(|(key, _)| key)
    }

    /// Requests here that wait for a track.
    pub(crate) fn waiting(&self) -> usize {
        let waits = |kind: &RequestKind| {
            matches!(
                kind,
                RequestKind::SubscribeWaiting { .. }
                    | RequestKind::StatusWaiting { .. }
                    | RequestKind::FetchWaiting { track: Some(_), .. }
            )
        };
        self.requests.iter().filter(|(_, request)| waits(&request.kind)).count()
    }

    /// Whether a SUBSCRIBE for `track` waits here.
    pub(crate) fn waits_for(&self, track: TrackKey) -> bool {
        self.requests.iter().any(
            |(_, request)| matches!(&request.kind, RequestKind::SubscribeWaiting { track: waits, .. } if *waits == track),
        )
    }

    // ---- accepted tokens ----------------------------------------------------------------------------------------

    /// The accepted tokens that something here stands on.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        let current = self.scope.as_ref().and_then(|scope| scope.grant());
        let bound = self.requests.iter().filter_map(|(_, request)| request.grant.as_ref());
        current.into_iter().chain(bound)
    }

    /// When the next of its grants ends, unix time in ms.
    pub(crate) fn next_grant_ends_ms(&self) -> Option<u64> {
        self.grants().map(|grant| grant.ends_ms()).min()
    }

    /// When the last of its grants ends, and the session with it, unix time in ms.
    pub(crate) fn last_grant_ends_ms(&self) -> Option<u64> {
        self.grants().map(|grant| grant.ends_ms()).max()
    }

    /// Whether something here stands on a token of this key.
    pub(crate) fn is_signed_by(&self, kid: &str) -> bool {
        self.grants().any(|grant| grant.is_signed_by(kid))
    }

    /// Whether the session, or a token that something here stands on, is about this resource.
    pub(crate) fn is_about(&self, id: &str) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_about(id)) || self.grants().any(|grant| grant.is_for(id))
    }
}
