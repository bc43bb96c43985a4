//! What a client session tells its user.

use bytes::Bytes;

use crate::wire::{
    FetchRange, FullTrackName, Location, Namespace, ObjectStatus, Parameters, PublishDoneCode, RequestErrorCode,
};

/// A request of one session, by its id on the wire: even ones are ours, odd ones the relay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One object of a subscription or fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReceived {
    /// Group id.
    pub group: u64,
    /// Subgroup id; 0 for objects that were published as datagrams.
    pub subgroup: u64,
    /// Object id in the group.
    pub object: u64,
    /// Normal, or the mark of an end.
    pub status: ObjectStatus,
    /// Publisher priority.
    pub priority: u8,
    /// Encoded properties; empty when there are none.
    pub properties: Bytes,
    /// The payload.
    pub payload: Bytes,
    /// It came by a FETCH (also by the joining one of a subscription).
    pub fetched: bool,
}

/// Everything that happens in a client session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Both SETUPs are through. Requests may be made before.
    Ready,
    /// The relay offers a namespace (PUBLISH_NAMESPACE): what a scoped session may watch, or publish.
    NamespaceOffered(Namespace),
    /// A namespace under a watched prefix is published; the part behind the prefix.
    NamespaceUp(RequestId, Namespace),
    /// A namespace under a watched prefix is gone.
    NamespaceDown(RequestId, Namespace),
    /// A request was accepted (SUBSCRIBE_OK, FETCH_OK, REQUEST_OK).
    Accepted {
        /// The request.
        request: RequestId,
        /// The track's largest location, if it has any object.
        largest: Option<Location>,
        /// When the relay will end it, in ms from now.
        expires_ms: Option<u64>,
    },
    /// A request was refused, or cancelled by the relay.
    Refused {
        /// The request.
        request: RequestId,
        /// Why.
        code: RequestErrorCode,
        /// In words.
        reason: String,
    },
    /// An object of a subscription or fetch.
    Object(RequestId, ObjectReceived),
    /// A group of a subscription is over; nothing of it follows.
    GroupEnd {
        /// The subscription.
        request: RequestId,
        /// The group.
        group: u64,
        /// All of it from the subscription's start on was delivered; `false` when a stream of it was reset or given up.
        complete: bool,
    },
    /// A FETCH is over.
    FetchEnd {
        /// The fetch.
        request: RequestId,
        /// It ended with FIN.
        complete: bool,
    },
    /// The relay has nothing more for a subscription (PUBLISH_DONE).
    Done {
        /// The subscription.
        request: RequestId,
        /// Why.
        code: PublishDoneCode,
        /// Streams that the relay opened for it.
        stream_count: Option<u64>,
        /// Streams of it that were seen here by now.
        streams_seen: u64,
    },
    /// The relay wants a track of ours: answer with [`super::Client::accept_subscribe`] or [`super::Client::reject`].
    SubscribeRequested {
        /// The relay's request.
        request: RequestId,
        /// The track.
        track: FullTrackName,
        /// How it wants it.
        parameters: Parameters,
    },
    /// The relay wants past objects of a track of ours: answer with [`super::Client::answer_fetch`] or
    /// [`super::Client::reject`].
    FetchRequested {
        /// The relay's request.
        request: RequestId,
        /// Which objects.
        range: FetchRange,
    },
    /// The relay offers a track (PUBLISH); it is accepted, and its objects come under this request.
    TrackOffered {
        /// The relay's request.
        request: RequestId,
        /// The track.
        track: FullTrackName,
        /// The track's largest location, if it has any object.
        largest: Option<Location>,
    },
    /// The relay cancelled a request of its own: it no longer wants a track of ours.
    Cancelled(RequestId),
    /// The relay is about to leave (GOAWAY).
    GoingAway {
        /// How long it waits, ms.
        timeout_ms: u64,
    },
    /// The session is over.
    Closed {
        /// MoQT session code.
        code: u64,
        /// In words.
        reason: String,
    },
}
