//! A request on its own stream: who opened it, what it is about, and how far it got.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::relay::auth::grant::Grant;
use crate::relay::keys::{FetchKey, PullKey, SubscriptionKey, TrackKey};
use crate::send::SendBuffer;
use crate::transmit::StreamId;
use crate::wire::{Fetch, Namespace, Subscribe};

/// A request, from the peer or from us, and its stream.
#[derive(Debug)]
pub(crate) struct Request {
    /// `None`: ours, and no stream is open for it yet.
    pub(crate) stream: Option<StreamId>,
    pub(crate) id: u64,
    pub(crate) out: SendBuffer,
    pub(crate) kind: RequestKind,
    /// When to give up waiting.
    pub(crate) deadline: Option<Instant>,
    /// Cancel both directions with this code at the next pump.
    pub(crate) cancel: Option<u64>,
    /// It is in the session's flush list.
    pub(crate) queued: bool,
    /// The peer may still send on it.
    pub(crate) receiving: bool,
    /// What allowed it, in a playback session.
    pub(crate) grant: Option<Arc<Grant>>,
    /// Name of the track that it reads.
    pub(crate) reads: Option<Bytes>,
}

impl Request {
    /// Only what is in `out` is left to do.
    pub(crate) fn close(&mut self) {
        self.deadline = None;
        self.kind = RequestKind::Closed;
        self.grant = None;
    }
}

/// What a request is about and how far it got.
#[derive(Debug)]
pub(crate) enum RequestKind {
    /// No message yet.
    Fresh,
    /// SUBSCRIBE, waiting for its track.
    SubscribeWaiting { message: Box<Subscribe>, track: TrackKey, forgive_until: Option<Instant> },
    /// An established subscription of the peer (by SUBSCRIBE, or by our PUBLISH).
    Subscribed { subscription: SubscriptionKey },
    /// FETCH, waiting for its subscription or its track.
    FetchWaiting { message: Box<Fetch>, track: Option<TrackKey> },
    /// A FETCH that is being served.
    Fetching { fetch: FetchKey },
    /// TRACK_STATUS, waiting for its track.
    StatusWaiting { track: TrackKey },
    /// The peer's PUBLISH_NAMESPACE.
    Announced { namespace: Namespace },
    /// The peer's SUBSCRIBE_NAMESPACE.
    WatchNamespaces { prefix: Namespace },
    /// The peer's SUBSCRIBE_TRACKS.
    WatchTracks { prefix: Namespace, forward: bool },
    /// The peer's PUBLISH, or our SUBSCRIBE to it: objects of the track come from this session.
    Upstream { track: TrackKey },
    /// Our PUBLISH_NAMESPACE.
    OurNamespace,
    /// Our FETCH.
    Pulling { pull: PullKey },
    /// Only what is in `out` is left to do.
    Closed,
}

impl RequestKind {
    /// It was answered by an OK and goes on.
    pub(crate) fn is_accepted(&self) -> bool {
        match self {
            Self::Subscribed { .. }
            | Self::Fetching { .. }
            | Self::Announced { .. }
            | Self::WatchNamespaces { .. }
            | Self::WatchTracks { .. }
            | Self::Upstream { .. }
            | Self::OurNamespace
            | Self::Pulling { .. } => true,
            Self::Fresh
            | Self::SubscribeWaiting { .. }
            | Self::FetchWaiting { .. }
            | Self::StatusWaiting { .. }
            | Self::Closed => false,
        }
    }
}
