//! One session that watches: requests go out, objects come in as events.
//!
//! The protocol is [`streams_relay_core::client`], which has no input or output of its own. Around it: a small task reads each
//! stream and hands the bytes over; [`Session::next_event`] feeds them to the machine and writes what it wants to send. Nothing
//! moves while nobody asks for events, and QUIC's flow control tells the server so. [`Viewer`] asks and tells in the terms of
//! somebody who watches.

mod client;
pub(crate) mod io;
mod session;

use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::client::{ClientConfig, ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::wire::{
    FullTrackName, Location, Namespace, ObjectStatus, PublishDoneCode, RequestErrorCode, SessionError,
};

use crate::error::session_closed;
use crate::{ClientError, SessionUrl};

pub use client::Client;
pub use session::Session;

/// What we call ourselves in SETUP.
const IMPLEMENTATION: &str = concat!("streams-sdk/", env!("CARGO_PKG_VERSION"));
/// Largest object that is taken: an intra frame of 100 Mb/s video at one frame a second.
const OBJECT_LEN_MAX: usize = 16 * 1024 * 1024;
/// Objects of later groups that wait for an earlier one: about ten seconds of 40 Mb/s.
const PENDING_LEN_MAX: usize = 48 * 1024 * 1024;
/// How long a newer group waits for the rest of the one before.
const GROUP_WAIT: Duration = Duration::from_millis(1500);

/// A subscription of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(u64);

/// The order of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Group by group, in the order of the track: for playing.
    InOrder,
    /// As they come in: for measuring.
    AsItComes,
}

/// What a session tells.
#[derive(Debug, Clone)]
pub enum ViewerEvent {
    /// The server speaks the protocol: its SETUP came.
    Ready,
    /// The server offers the tracks of a namespace.
    Namespace(Namespace),
    /// The subscription is accepted.
    Subscribed {
        /// Which.
        track: TrackId,
        /// The newest object of the track so far.
        largest: Option<Location>,
    },
    /// The subscription is refused.
    Refused {
        /// Which.
        track: TrackId,
        /// Why.
        code: RequestErrorCode,
        /// The server's words.
        reason: String,
    },
    /// A whole object.
    Object {
        /// Of which subscription.
        track: TrackId,
        /// Where in the track.
        location: Location,
        /// Its bytes.
        payload: Bytes,
        /// When the bytes that completed it (or that let it go, when order held it back) were read.
        arrival: Instant,
        /// It was fetched when joining, and is not live.
        fetched: bool,
    },
    /// Nothing more comes of the group.
    GroupEnd {
        /// Of which subscription.
        track: TrackId,
        /// Which group.
        group: u64,
        /// All of it was delivered.
        complete: bool,
    },
    /// No further objects come of the subscription.
    TrackEnded {
        /// Which.
        track: TrackId,
        /// Why.
        code: PublishDoneCode,
    },
    /// The server intends to leave; watch on elsewhere or later.
    Goaway,
}

/// A session that watches one broadcast. Dropping it closes the session.
#[derive(Debug)]
pub struct Viewer {
    session: Session,
}

impl Viewer {
    /// Connects to the server of `url` and sets the session up. The server then tells the broadcast's namespace, see
    /// [`ViewerEvent::Namespace`].
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Unreachable`] when no address answers or the certificate is not believed.
    pub async fn connect(client: &Client, url: &SessionUrl, delivery: Delivery) -> Result<Self, ClientError> {
        let config = ClientConfig {
            implementation: IMPLEMENTATION.to_owned(),
            object_len_max: OBJECT_LEN_MAX,
            pending_len_max: PENDING_LEN_MAX,
            group_wait: match delivery {
                Delivery::InOrder => GROUP_WAIT,
                Delivery::AsItComes => Duration::ZERO,
            },
            ..ClientConfig::default()
        };
        Ok(Self { session: Session::connect(client, url, config).await? })
    }

    /// Asks for a track, from the beginning of its newest group. The answer and the objects come as events.
    pub fn subscribe(&mut self, track: FullTrackName) -> TrackId {
        let RequestId(id) = self.session.ask(|machine| machine.subscribe(SubscribeRequest::live(track)));
        TrackId(id)
    }

    /// No longer wants the objects of a subscription.
    pub fn unsubscribe(&mut self, track: TrackId) {
        self.session.ask(|machine| machine.cancel(RequestId(track.0)));
    }

    /// The next event; safe to drop and call again.
    ///
    /// # Errors
    /// The session is over, and why.
    pub async fn next_event(&mut self) -> Result<ViewerEvent, ClientError> {
        loop {
            let event = self.session.next_event().await?;
            if let Some(event) = self.translate(event)? {
                return Ok(event);
            }
        }
    }

    /// Round-trip time of the path, as QUIC measures it.
    pub fn rtt(&self) -> Duration {
        self.session.rtt()
    }

    /// An event in a viewer's terms; `None` for what does not concern one.
    fn translate(&mut self, event: ClientEvent) -> Result<Option<ViewerEvent>, ClientError> {
        let track = |request: RequestId| TrackId(request.0);
        Ok(Some(match event {
            ClientEvent::Ready => ViewerEvent::Ready,
            ClientEvent::NamespaceOffered(namespace) => ViewerEvent::Namespace(namespace),
            ClientEvent::Accepted { request, largest, .. } => {
                ViewerEvent::Subscribed { track: track(request), largest }
            }
            ClientEvent::Refused { request, code, reason } => {
                ViewerEvent::Refused { track: track(request), code, reason }
            }
            ClientEvent::Object(request, object) if object.status == ObjectStatus::Normal => ViewerEvent::Object {
                track: track(request),
                location: Location { group: object.group, object: object.object },
                payload: object.payload,
                arrival: self.session.arrival(),
                fetched: object.fetched,
            },
            ClientEvent::GroupEnd { request, group, complete } => {
                ViewerEvent::GroupEnd { track: track(request), group, complete }
            }
            ClientEvent::Done { request, code, .. } => ViewerEvent::TrackEnded { track: track(request), code },
            ClientEvent::GoingAway { .. } => ViewerEvent::Goaway,
            ClientEvent::Closed { code, reason } => {
                return Err(session_closed(SessionError::from_u64(code), reason));
            }
            ClientEvent::SubscribeRequested { request, .. } | ClientEvent::FetchRequested { request, .. } => {
                let reason = "this client only watches";
                self.session.ask(|machine| machine.reject(request, RequestErrorCode::NotSupported, reason));
                return Ok(None);
            }
            ClientEvent::TrackOffered { request, .. } => {
                self.session.ask(|machine| machine.cancel(request));
                return Ok(None);
            }
            // A mark of an end says what GroupEnd and Done say anyway; the rest answers requests that we do not make.
            _ => return Ok(None),
        }))
    }
}
