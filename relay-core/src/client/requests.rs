//! Requests of a client: making them, and their answers.

use std::time::{Duration, Instant};

use crate::relay::StreamId;
use crate::send::SendBuffer;
use crate::wire::{
    AuthToken, ControlMessage, EndLocation, Fetch, FetchRange, FullTrackName, GroupOrder, Location, Namespace,
    Parameters, Publish, PublishDone, PublishNamespace, RequestErrorCode, RequestOk, RequestUpdate, StreamResetCode,
    Subscribe, SubscribeNamespace, SubscribeTracks, SubscriptionFilter, TrackStatus,
};

use super::incoming::{Fatal, Incoming};
use super::order::{Order, Released};
use super::{Client, ClientConfig, ClientEvent, RequestId};

/// Where a subscription joins its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// At the next group.
    NextGroup,
    /// At the next object; the group it belongs to may have begun before.
    NextObject,
    /// At the first group whose id is at most this much below the newest one's (MoQT-18 §10.12.2): 0 is the newest group.
    /// That many groups only where ids count them; those of this service are unix milliseconds. Sends a joining FETCH.
    GroupsBack(u64),
    /// At this location, for objects that are published from now on.
    From(Location),
    /// From this location to the end of that group, for objects that are published from now on.
    Range(Location, u64),
}

/// A SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// The track.
    pub track: FullTrackName,
    /// Where to join.
    pub join: Join,
    /// Subscriber priority, 0 is the most urgent.
    pub priority: u8,
    /// A playback token, when the session has none.
    pub token: Option<String>,
    /// How long the relay may wait for a publisher; zero asks for an answer at once.
    pub rendezvous: Duration,
    /// Objects older than this are not wanted.
    pub delivery_timeout: Option<Duration>,
    /// Send objects right away.
    pub forward: bool,
}

impl SubscribeRequest {
    /// The newest group of a track from its start, with everything else as the drafts have it.
    pub fn live(track: FullTrackName) -> Self {
        Self {
            track,
            join: Join::GroupsBack(0),
            priority: crate::wire::SUBSCRIBER_PRIORITY_DEFAULT,
            token: None,
            rendezvous: Duration::ZERO,
            delivery_timeout: None,
            forward: true,
        }
    }
}

/// A standalone FETCH.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The track.
    pub track: FullTrackName,
    /// The first object.
    pub start: Location,
    /// The last one.
    pub end: EndLocation,
    /// The order of groups.
    pub order: GroupOrder,
    /// Subscriber priority, 0 is the most urgent.
    pub priority: u8,
    /// A playback token, when the session has none.
    pub token: Option<String>,
}

/// A request and its stream.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) stream: Option<StreamId>,
    pub(super) out: SendBuffer,
    pub(super) cancel: Option<u64>,
    /// The relay ended its half.
    pub(super) answered: bool,
    /// Nothing more comes for it.
    pub(super) over: bool,
    pub(super) kind: Kind,
}

/// What a request is about.
#[derive(Debug)]
pub(super) enum Kind {
    /// A subscription of ours, by SUBSCRIBE or by the relay's PUBLISH.
    Subscription(Box<Order>),
    /// A FETCH of ours; the subscription it joins, if any.
    Fetch { joins: Option<RequestId>, order: GroupOrder },
    /// TRACK_STATUS.
    Status,
    /// PUBLISH_NAMESPACE of ours.
    Announce,
    /// SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS of ours.
    Watch,
    /// A track of ours that the relay follows, by its SUBSCRIBE or by our PUBLISH.
    Published,
    /// A FETCH of the relay.
    FetchServed,
    /// The relay's PUBLISH_NAMESPACE.
    Offer,
    /// A request of the relay that a client refuses.
    Unserved,
}

impl Request {
    pub(super) fn new(kind: Kind) -> Self {
        Self { stream: None, out: SendBuffer::default(), cancel: None, answered: false, over: false, kind }
    }

    /// When a group that holds others back is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Subscription(order) => order.deadline(),
            _ => None,
        }
    }
}

impl Client {
    /// Asks for the new objects of a track, and for what came before as `join` says.
    pub fn subscribe(&mut self, request: SubscribeRequest) -> RequestId {
        let filter = match request.join {
            Join::NextGroup => SubscriptionFilter::NextGroupStart,
            Join::NextObject | Join::GroupsBack(_) => SubscriptionFilter::LargestObject,
            Join::From(start) => SubscriptionFilter::AbsoluteStart(start),
            Join::Range(start, end_group) => SubscriptionFilter::AbsoluteRange { start, end_group },
        };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let parameters = Parameters {
            auth_tokens: tokens(request.token.as_deref()),
            rendezvous_timeout_ms: (!request.rendezvous.is_zero()).then(|| ms(request.rendezvous)),
            object_delivery_timeout_ms: request.delivery_timeout.map(ms),
            forward: (!request.forward).then_some(false),
            subscriber_priority: Some(request.priority),
            filter: Some(filter),
            ..Parameters::default()
        };
        let order = self.new_order();
        let track = request.track;
        let id = self.make(Kind::Subscription(order), |request_id| {
            ControlMessage::Subscribe(Subscribe { request_id, track, parameters })
        });
        if let Join::GroupsBack(groups_back) = request.join {
            self.join(id, groups_back, request.priority, request.token.as_deref());
        }
        id
    }

    fn join(&mut self, subscription: RequestId, groups_back: u64, priority: u8, token: Option<&str>) {
        let range = FetchRange::RelativeJoining { joining_request_id: subscription.0, groups_back };
        let auth_tokens = tokens(token);
        let parameters = Parameters { auth_tokens, subscriber_priority: Some(priority), ..Parameters::default() };
        let kind = Kind::Fetch { joins: Some(subscription), order: GroupOrder::Ascending };
        self.make(kind, |request_id| ControlMessage::Fetch(Fetch { request_id, range, parameters }));
        if let Some(Kind::Subscription(order)) = self.requests.get_mut(&subscription).map(|request| &mut request.kind) {
            order.wait_for_fetch();
        }
    }

    /// Asks for a range of past objects.
    pub fn fetch(&mut self, request: FetchRequest) -> RequestId {
        let range = FetchRange::Standalone { track: request.track, start: request.start, end: request.end };
        let parameters = Parameters {
            auth_tokens: tokens(request.token.as_deref()),
            subscriber_priority: Some(request.priority),
            group_order: Some(request.order),
            ..Parameters::default()
        };
        self.make(Kind::Fetch { joins: None, order: request.order }, |request_id| {
            ControlMessage::Fetch(Fetch { request_id, range, parameters })
        })
    }

    /// Asks whether a track exists and how far it is.
    pub fn track_status(&mut self, track: FullTrackName, token: Option<&str>) -> RequestId {
        let parameters = Parameters { auth_tokens: tokens(token), ..Parameters::default() };
        self.make(Kind::Status, |request_id| ControlMessage::TrackStatus(TrackStatus { request_id, track, parameters }))
    }

    /// Asks for the namespaces under a prefix, now and later.
    pub fn watch_namespaces(&mut self, prefix: Namespace, token: Option<&str>) -> RequestId {
        let parameters = Parameters { auth_tokens: tokens(token), ..Parameters::default() };
        self.make(Kind::Watch, |request_id| {
            ControlMessage::SubscribeNamespace(SubscribeNamespace { request_id, prefix, parameters })
        })
    }

    /// Asks for every track under a prefix, now and later; they come as [`ClientEvent::TrackOffered`].
    pub fn watch_tracks(&mut self, prefix: Namespace, token: Option<&str>) -> RequestId {
        let parameters = Parameters { auth_tokens: tokens(token), ..Parameters::default() };
        self.make(Kind::Watch, |request_id| {
            ControlMessage::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters })
        })
    }

    /// Offers the tracks of a namespace.
    pub fn announce(&mut self, namespace: Namespace) -> RequestId {
        let parameters = Parameters::default();
        self.make(Kind::Announce, |request_id| {
            ControlMessage::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
        })
    }

    /// Offers one track and sends its objects under `track_alias`, accepted or not.
    pub fn publish(&mut self, track: FullTrackName, track_alias: u64, largest: Option<Location>) -> RequestId {
        let parameters = Parameters { largest_object: largest, ..Parameters::default() };
        let properties = crate::wire::Properties::default();
        self.make(Kind::Published, |request_id| {
            ControlMessage::Publish(Publish { request_id, track, track_alias, parameters, properties })
        })
    }

    /// Changes a request (REQUEST_UPDATE): what `parameters` names replaces what was asked.
    pub fn update(&mut self, request: RequestId, parameters: Parameters) {
        let request_id = self.take_id();
        self.send(request, &ControlMessage::RequestUpdate(RequestUpdate { request_id, parameters }));
    }

    /// Shows a fresh playback token for a request.
    pub fn refresh_token(&mut self, request: RequestId, token: &str) {
        self.update(request, Parameters { auth_tokens: tokens(Some(token)), ..Parameters::default() });
    }

    /// Takes a request back: unsubscribes, stops a fetch, withdraws a namespace.
    pub fn cancel(&mut self, request: RequestId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.cancel = Some(StreamResetCode::Cancelled.to_u64());
            self.flush.push_back(request);
        }
    }

    /// Nothing more comes for a request: ends our side of it.
    pub(super) fn end(&mut self, request: RequestId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.over = true;
        }
        self.finish(request);
    }

    /// Ends our side of a request with FIN.
    pub fn finish(&mut self, request: RequestId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.out.finish();
            self.flush.push_back(request);
        }
    }

    pub(super) fn new_order(&self) -> Box<Order> {
        let ClientConfig { group_wait, gap_wait, pending_len_max, .. } = self.config;
        Box::new(Order::new(group_wait, gap_wait, pending_len_max))
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(2);
        id
    }

    fn make(&mut self, kind: Kind, message: impl FnOnce(u64) -> ControlMessage) -> RequestId {
        let id = RequestId(self.take_id());
        self.requests.insert(id, Request::new(kind));
        self.send(id, &message(id.0));
        id
    }

    pub(super) fn send(&mut self, request: RequestId, message: &ControlMessage) {
        let draft = self.config.draft;
        if let Some(state) = self.requests.get_mut(&request) {
            if !state.out.push(draft, message) {
                state.cancel = Some(StreamResetCode::Internal.to_u64());
            }
            self.flush.push_back(request);
        }
    }

    pub(super) fn forget(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            if let Some(stream) = request.stream {
                self.by_stream.remove(&stream);
                self.incoming.remove(&stream);
            }
            self.aliases.retain(|_, known| *known != id);
        }
    }

    /// A message on a request's stream.
    pub(super) fn on_message(&mut self, now: Instant, id: RequestId, message: ControlMessage) -> Result<(), Fatal> {
        match message {
            ControlMessage::SubscribeOk(ok) => {
                self.aliases.insert(ok.track_alias, id);
                if let Some(Kind::Subscription(order)) = self.requests.get_mut(&id).map(|request| &mut request.kind) {
                    order.on_accepted(ok.parameters.largest_object);
                }
                let (largest, expires_ms) = (ok.parameters.largest_object, ok.parameters.expires_ms);
                self.events.push_back(ClientEvent::Accepted { request: id, largest, expires_ms });
                self.resume_unknown(now, ok.track_alias)
            }
            ControlMessage::RequestOk(RequestOk { parameters, .. }) => {
                let (largest, expires_ms) = (parameters.largest_object, parameters.expires_ms);
                self.events.push_back(ClientEvent::Accepted { request: id, largest, expires_ms });
                if matches!(self.requests.get(&id).map(|request| &request.kind), Some(Kind::Status)) {
                    self.end(id);
                }
                Ok(())
            }
            ControlMessage::FetchOk(_) => {
                if !self.is_joining(id) {
                    self.events.push_back(ClientEvent::Accepted { request: id, largest: None, expires_ms: None });
                }
                Ok(())
            }
            ControlMessage::RequestError(error) => {
                // A joining fetch is refused when nothing was published yet: then nothing is missing.
                self.refused(now, id, error.code, error.reason, true);
                Ok(())
            }
            ControlMessage::Namespace(found) => {
                self.events.push_back(ClientEvent::NamespaceUp(id, found.suffix));
                Ok(())
            }
            ControlMessage::NamespaceDone(done) => {
                self.events.push_back(ClientEvent::NamespaceDown(id, done.suffix));
                Ok(())
            }
            ControlMessage::PublishDone(done) => {
                self.subscription_done(now, id, done);
                Ok(())
            }
            ControlMessage::RequestUpdate(_) => {
                self.send(id, &ControlMessage::RequestOk(RequestOk::default()));
                Ok(())
            }
            ControlMessage::Goaway(_) | ControlMessage::PublishBlocked(_) => Ok(()),
            other => Err(Fatal::violation(format!("{} in this place", other.message_type().name()))),
        }
    }

    fn is_joining(&self, id: RequestId) -> bool {
        matches!(self.requests.get(&id).map(|request| &request.kind), Some(Kind::Fetch { joins: Some(_), .. }))
    }

    fn refused(&mut self, now: Instant, id: RequestId, code: RequestErrorCode, reason: String, complete: bool) {
        match self.requests.get(&id).map(|request| &request.kind) {
            // Nothing was published yet, or the subscription itself was refused: it goes on, or fails, by itself.
            Some(Kind::Fetch { joins: Some(subscription), .. }) => {
                let subscription = *subscription;
                self.with_order(now, subscription, |order, now, out| order.on_fetch_over(now, complete, out));
            }
            _ => self.events.push_back(ClientEvent::Refused { request: id, code, reason }),
        }
        self.end(id);
    }

    /// The relay cancelled a request, ours or its own.
    pub(super) fn request_cancelled(&mut self, now: Instant, id: RequestId) {
        if id.0 % 2 == 1 {
            self.events.push_back(ClientEvent::Cancelled(id));
            self.drop_outgoing(id);
            self.cancel(id);
        } else {
            self.refused(now, id, RequestErrorCode::Internal, "the relay cancelled the request".to_owned(), false);
            self.cancel(id);
        }
    }

    fn subscription_done(&mut self, now: Instant, id: RequestId, done: PublishDone) {
        let Some(Kind::Subscription(order)) = self.requests.get_mut(&id).map(|request| &mut request.kind) else {
            return;
        };
        let mut out = Vec::new();
        order.on_done(now, done, &mut out);
        self.deliver(id, out);
    }

    /// Hands out what a subscription's order let go.
    pub(super) fn deliver(&mut self, id: RequestId, out: Vec<Released>) {
        for released in out {
            match released {
                Released::Object(object) => self.events.push_back(ClientEvent::Object(id, object)),
                Released::GroupEnd { group, complete } => {
                    self.events.push_back(ClientEvent::GroupEnd { request: id, group, complete });
                }
                Released::Stop(stream) => {
                    self.stops.push((stream, StreamResetCode::Cancelled.to_u64()));
                    self.incoming.insert(stream, Incoming::Ignored);
                }
                Released::Done { done, streams_seen } => {
                    let PublishDone { code, stream_count, .. } = done;
                    self.events.push_back(ClientEvent::Done { request: id, code, stream_count, streams_seen });
                    self.end(id);
                }
            }
        }
    }

    /// A time limit of a subscription has passed.
    pub(super) fn release(&mut self, now: Instant, id: RequestId) {
        self.with_order(now, id, |order, now, out| order.on_timeout(now, out));
    }

    pub(super) fn with_order(
        &mut self,
        now: Instant,
        id: RequestId,
        change: impl FnOnce(&mut Order, Instant, &mut Vec<Released>),
    ) {
        if let Some(Kind::Subscription(order)) = self.requests.get_mut(&id).map(|request| &mut request.kind) {
            let mut out = Vec::new();
            change(order, now, &mut out);
            self.deliver(id, out);
        }
    }
}

fn tokens(token: Option<&str>) -> Vec<AuthToken> {
    token.map(AuthToken::playback).into_iter().collect()
}
