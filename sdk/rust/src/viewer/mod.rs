//! One session that watches: requests go out, objects come in as events.
//!
//! The protocol is [`streams_relay_core::client`], which has no input or output of its own. Around it: a small task reads each
//! stream and hands the bytes over; [`Viewer::next_event`] feeds them to the machine and writes what it wants to send. Nothing
//! moves while nobody asks for events, and QUIC's flow control tells the server so.

mod client;
pub(crate) mod io;

use std::future::pending;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::Connection;
use streams_relay_core::client::{self as machine, ClientConfig, ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::relay::Transport;
use streams_relay_core::wire::{
    FullTrackName, Location, Namespace, ObjectStatus, PublishDoneCode, RequestErrorCode, SessionError,
};
use tokio::time::sleep_until;

use crate::error::{close_reason, session_closed};
use crate::{PlayError, PlaybackUrl};

pub use client::Client;
use io::{Input, Streams};

/// What we call ourselves in SETUP.
const IMPLEMENTATION: &str = concat!("streams-sdk/", env!("CARGO_PKG_VERSION"));
/// Largest object that is taken: an intra frame of 100 Mb/s video at one frame a second.
const OBJECT_LEN_MAX: usize = 16 * 1024 * 1024;
/// Objects of later groups that wait for an earlier one: about ten seconds of 40 Mb/s.
const PENDING_LEN_MAX: usize = 48 * 1024 * 1024;
/// How long a newer group waits for the rest of the one before.
const GROUP_WAIT: Duration = Duration::from_millis(1500);
/// How soon a write is tried again that QUIC had no room for. Requests are small, so this is rare.
const WRITE_RETRY: Duration = Duration::from_millis(20);

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
    connection: Connection,
    machine: machine::Client,
    streams: Streams,
    /// The machine has something to send that QUIC had no room for.
    blocked: bool,
    /// When the bytes behind the machine's newest events were read.
    arrival: Instant,
}

impl Viewer {
    /// Connects to the server of `url` and sets the session up. The server then tells the broadcast's namespace, see
    /// [`ViewerEvent::Namespace`].
    ///
    /// # Errors
    /// [`crate::PlayErrorKind::Unreachable`] when no address answers or the certificate is not believed.
    pub async fn connect(client: &Client, url: &PlaybackUrl, delivery: Delivery) -> Result<Self, PlayError> {
        let (connection, draft) = client.connect(url).await?;
        let config = ClientConfig {
            draft,
            transport: Transport::Quic,
            path: url.path.clone(),
            authority: url.authority.clone(),
            implementation: IMPLEMENTATION.to_owned(),
            object_len_max: OBJECT_LEN_MAX,
            pending_len_max: PENDING_LEN_MAX,
            group_wait: match delivery {
                Delivery::InOrder => GROUP_WAIT,
                Delivery::AsItComes => Duration::ZERO,
            },
            ..ClientConfig::default()
        };
        let (machine, streams) = (machine::Client::new(config), Streams::new(&connection));
        let mut viewer = Self { connection, machine, streams, blocked: false, arrival: Instant::now() };
        viewer.pump(Instant::now());
        Ok(viewer)
    }

    /// Asks for a track, from the beginning of its newest group. The answer and the objects come as events.
    pub fn subscribe(&mut self, track: FullTrackName) -> TrackId {
        let RequestId(id) = self.machine.subscribe(SubscribeRequest::live(track));
        self.pump(Instant::now());
        TrackId(id)
    }

    /// No longer wants the objects of a subscription.
    pub fn unsubscribe(&mut self, track: TrackId) {
        self.machine.cancel(RequestId(track.0));
        self.pump(Instant::now());
    }

    /// The next event; safe to drop and call again.
    ///
    /// # Errors
    /// The session is over, and why.
    pub async fn next_event(&mut self) -> Result<ViewerEvent, PlayError> {
        loop {
            while let Some(event) = self.machine.poll_event() {
                if let Some(event) = self.translate(event)? {
                    return Ok(event);
                }
            }
            self.pump(Instant::now());
            self.wait().await?;
        }
    }

    /// Round-trip time of the path, as QUIC measures it.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Waits for bytes or for a time limit of the machine, and hands them to it.
    async fn wait(&mut self) -> Result<(), PlayError> {
        let retry = self.blocked.then(|| Instant::now() + WRITE_RETRY);
        let wake = [self.machine.next_timeout(), retry].into_iter().flatten().min();
        let timer = async {
            match wake {
                Some(wake) => sleep_until(wake.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(input) = self.streams.inputs.recv() => {
                self.arrival = Instant::now();
                self.take(input);
            }
            error = self.connection.closed() => return Err(close_reason(&error)),
            () = timer => {
                self.arrival = Instant::now();
                self.machine.handle_timeout(self.arrival);
            }
        }
        Ok(())
    }

    fn take(&mut self, input: Input) {
        let now = self.arrival;
        match input {
            Input::Opened { stream, send, stop } => self.streams.opened(stream, send, stop),
            Input::Data { stream, dir, data, fin } => {
                if fin {
                    self.streams.read_to_end(stream);
                }
                self.machine.stream_data(now, stream, dir, &data, fin);
            }
            Input::Reset { stream, code } => {
                self.streams.read_to_end(stream);
                self.machine.stream_reset(now, stream, code);
            }
        }
    }

    fn pump(&mut self, now: Instant) {
        self.blocked = self.machine.pump(now, &mut self.streams.transmit(&self.connection)).more;
    }

    /// An event in a viewer's terms; `None` for what does not concern one.
    fn translate(&mut self, event: ClientEvent) -> Result<Option<ViewerEvent>, PlayError> {
        let track = |request: RequestId| TrackId(request.0);
        Ok(Some(match event {
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
                arrival: self.arrival,
                fetched: object.fetched,
            },
            ClientEvent::GroupEnd { request, group, complete } => {
                ViewerEvent::GroupEnd { track: track(request), group, complete }
            }
            ClientEvent::Done { request, code, .. } => ViewerEvent::TrackEnded { track: track(request), code },
            ClientEvent::GoingAway { .. } => ViewerEvent::Goaway,
            ClientEvent::Closed { code, reason } => {
                self.pump(self.arrival);
                return Err(session_closed(SessionError::from_u64(code), reason));
            }
            ClientEvent::SubscribeRequested { request, .. } | ClientEvent::FetchRequested { request, .. } => {
                self.machine.reject(request, RequestErrorCode::NotSupported, "this client only watches");
                return Ok(None);
            }
            ClientEvent::TrackOffered { request, .. } => {
                self.machine.cancel(request);
                return Ok(None);
            }
            // A mark of an end says what GroupEnd and Done say anyway; the rest answers requests that we do not make.
            _ => return Ok(None),
        }))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.connection.close(quinn::VarInt::from_u32(0), b"done");
    }
}
