//! One session that watches: requests go out, objects come in as events.
//!
//! Every stream has a small task of its own which reads it to its end; what it finds goes into one bounded channel. A viewer that
//! does not take its events therefore stops reading, and QUIC's flow control tells the server.

mod client;
mod data;
mod requests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use streams_relay_core::Malformed;
use streams_relay_core::wire::{
    ControlMessage, Draft, FullTrackName, Location, Namespace, PublishDoneCode, RequestErrorCode, SessionError, Setup,
};
use tokio::sync::{mpsc, watch};

use crate::error::close_reason;
use crate::{PlayError, PlaybackUrl};

pub use client::Client;

/// Events that may wait for the viewer. At 60 objects a second and track this is about two seconds of them.
const EVENTS_MAX: usize = 256;
/// What we call ourselves in SETUP.
const IMPLEMENTATION: &str = concat!("streams-sdk/", env!("CARGO_PKG_VERSION"));

/// A subscription of one session; numbers begin at 0 and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u32);

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// With the objects after the newest one.
    Live,
    /// With the beginning of the newest group: what was published of it is fetched, the rest follows live.
    CurrentGroup,
}

/// What a session tells.
#[derive(Debug, Clone)]
pub enum ViewerEvent {
    /// The server offers the tracks of a namespace.
    Namespace(Namespace),
    /// The server no longer offers it.
    NamespaceGone(Namespace),
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
    /// A whole object. Order holds within a stream only, see [`Join`].
    Object {
        /// Of which subscription.
        track: TrackId,
        /// Where in the track.
        location: Location,
        /// Its bytes.
        payload: Bytes,
        /// When its last byte was read.
        arrival: Instant,
        /// It was fetched when joining, and is not live.
        fetched: bool,
    },
    /// The group is complete: it has no object from `end` on.
    GroupEnd {
        /// Of which subscription.
        track: TrackId,
        /// Which group.
        group: u64,
        /// The first object id that does not exist.
        end: u64,
    },
    /// No further objects come of the subscription.
    TrackEnded {
        /// Which.
        track: TrackId,
        /// Why; `None` when the server just ended the stream.
        code: Option<PublishDoneCode>,
        /// The server's words.
        reason: String,
    },
    /// The server intends to leave; watch on elsewhere or later.
    Goaway,
}

/// What the tasks of a session share.
#[derive(Debug)]
struct Shared {
    connection: Connection,
    draft: Draft,
    events: mpsc::Sender<ViewerEvent>,
    next_request_id: AtomicU64,
    /// Tracks by their alias on data streams.
    aliases: watch::Sender<HashMap<u64, TrackId>>,
    /// Tracks by the request id of their fetch.
    fetches: Mutex<HashMap<u64, TrackId>>,
    /// Why this side closed the session.
    failure: OnceLock<PlayError>,
}

impl Shared {
    /// Client requests have even ids (draft-18 §10.1).
    fn request_id(&self) -> u64 {
        self.next_request_id.fetch_add(2, Ordering::Relaxed)
    }

    /// Waits while the viewer is behind. An error means that the viewer is gone, and so nobody minds.
    async fn tell(&self, event: ViewerEvent) {
        let _ = self.events.send(event).await;
    }

    fn encode(&self, message: &ControlMessage) -> Result<Vec<u8>, PlayError> {
        let mut bytes = Vec::new();
        message.encode(self.draft, &mut bytes).map_err(PlayError::failed)?;
        Ok(bytes)
    }

    /// The server broke the protocol.
    fn violation(&self, malformed: Malformed) {
        let _ = self.failure.set(PlayError::failed(format!("the server broke the protocol: {malformed}")));
        self.close(malformed.code, malformed.reason);
    }

    fn close(&self, code: SessionError, reason: &str) {
        // Every code of ours fits QUIC's 62 bits.
        let code = quinn::VarInt::from_u64(code.to_u64()).unwrap_or(quinn::VarInt::MAX);
        self.connection.close(code, reason.as_bytes());
    }
}

/// A session that watches one broadcast. Dropping it closes the session.
#[derive(Debug)]
pub struct Viewer {
    shared: Arc<Shared>,
    events: mpsc::Receiver<ViewerEvent>,
    next_track: u32,
    /// Closing the control stream would close the session, so it lives as long as the viewer.
    _control: SendStream,
}

impl Viewer {
    /// Connects to the server of `url` and sets the session up. The server then tells the broadcast's namespace, see
    /// [`ViewerEvent::Namespace`].
    ///
    /// # Errors
    /// [`crate::PlayErrorKind::Unreachable`] when no address answers or the certificate is not believed.
    pub async fn connect(client: &Client, url: &PlaybackUrl) -> Result<Self, PlayError> {
        let (connection, draft) = client.connect(url).await?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            connection,
            draft,
            events: sender,
            next_request_id: AtomicU64::new(0),
            aliases: watch::Sender::default(),
            fetches: Mutex::default(),
            failure: OnceLock::new(),
        });
        let setup = Setup {
            path: Some(url.path.clone()),
            authority: Some(url.authority.clone()),
            implementation: Some(IMPLEMENTATION.to_owned()),
            ..Setup::default()
        };
        let setup = shared.encode(&ControlMessage::Setup(setup))?;
        let lost = |error: quinn::ConnectionError| close_reason(&error);
        let mut control = shared.connection.open_uni().await.map_err(lost)?;
        control
            .write_all(&setup)
            .await
            .map_err(|error| PlayError::unreachable(format!("SETUP was not sent: {error}")))?;
        tokio::spawn(data::accept(Arc::clone(&shared)));
        tokio::spawn(requests::accept(Arc::clone(&shared)));
        Ok(Self { shared, events, next_track: 0, _control: control })
    }

    /// Asks for a track. The answer and the objects come as events.
    pub fn subscribe(&mut self, track: FullTrackName, join: Join) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track = self.next_track.saturating_add(1);
        tokio::spawn(requests::subscribe(Arc::clone(&self.shared), id, track, join));
        id
    }

    /// The next event; safe to drop and call again.
    ///
    /// # Errors
    /// The session is over, and why.
    pub async fn next_event(&mut self) -> Result<ViewerEvent, PlayError> {
        tokio::select! {
            biased;
            Some(event) = self.events.recv() => Ok(event),
            error = self.shared.connection.closed() => {
                Err(self.shared.failure.get().cloned().unwrap_or_else(|| close_reason(&error)))
            }
        }
    }

    /// Round-trip time of the path, as QUIC measures it.
    pub fn rtt(&self) -> std::time::Duration {
        self.shared.connection.rtt()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.close(SessionError::NoError, "done");
    }
}
