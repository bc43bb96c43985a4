//! Control messages as values (draft-18 §10). Their bytes are in `control`.

use bytes::Bytes;

use super::codes::{PublishDoneCode, RequestErrorCode};
use super::name::{EndLocation, FullTrackName, Location, Namespace};
use super::parameter::Parameters;
use super::property::Properties;
use super::setup::Setup;

/// Longest New Session URI in bytes (draft-18 §10.4).
pub const SESSION_URI_LEN_MAX: usize = 8192;
/// Longest reason phrase in bytes (draft-18 §1.4.4); a longer one of ours is cut.
pub const REASON_LEN_MAX: usize = 1024;

/// The sender intends to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goaway {
    /// Where to go on; empty means the same place. Only a server may send one.
    pub new_session_uri: String,
    /// How long the sender waits, ms; 0 means unspecified.
    pub timeout_ms: u64,
    /// On the control stream: the smallest request id of the peer that may be unprocessed. Absent on request streams.
    pub request_id: Option<u64>,
}

/// Changes the parameters of the request whose stream it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUpdate {
    /// Its own request id.
    pub request_id: u64,
    /// What changes.
    pub parameters: Parameters,
}

/// Asks for the new objects of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Its request id.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// How to deliver.
    pub parameters: Parameters,
}

/// Accepts a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOk {
    /// Stands for the track on data streams of this session.
    pub track_alias: u64,
    /// EXPIRES, LARGEST_OBJECT.
    pub parameters: Parameters,
    /// Properties of the track.
    pub properties: Properties,
}

/// Refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// Why.
    pub code: RequestErrorCode,
    /// When the same request may be tried again, ms; `None` means never.
    pub retry_after_ms: Option<u64>,
    /// For people.
    pub reason: String,
    /// Where to ask instead; present exactly with [`RequestErrorCode::Redirect`].
    pub redirect: Option<Redirect>,
}

/// Another place for a request (draft-18 §10.6.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Where to connect; empty means this session's URI. Only a server may send one.
    pub connect_uri: String,
    /// What to ask for; all empty means the same as before.
    pub track: FullTrackName,
}

/// Offers the tracks of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishNamespace {
    /// Its request id.
    pub request_id: u64,
    /// The namespace.
    pub namespace: Namespace,
    /// AUTHORIZATION_TOKEN.
    pub parameters: Parameters,
}

/// Accepts a PUBLISH, REQUEST_UPDATE, TRACK_STATUS, SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS or PUBLISH_NAMESPACE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestOk {
    /// Depends on what it answers.
    pub parameters: Parameters,
    /// Properties of the track; only in answer to TRACK_STATUS.
    pub properties: Properties,
}

/// A namespace under the prefix of a SUBSCRIBE_NAMESPACE exists (NAMESPACE).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFound {
    /// The fields after the prefix.
    pub suffix: Namespace,
}

/// A namespace under the prefix of a SUBSCRIBE_NAMESPACE is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceDone {
    /// The fields after the prefix.
    pub suffix: Namespace,
}

/// The last message of a subscription's publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishDone {
    /// Why.
    pub code: PublishDoneCode,
    /// Data streams opened for the subscription; `None` when the publisher does not know.
    pub stream_count: Option<u64>,
    /// For people.
    pub reason: String,
}

/// Asks about a track without subscribing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackStatus {
    /// Its request id.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// AUTHORIZATION_TOKEN.
    pub parameters: Parameters,
}

/// A track under the prefix of a SUBSCRIBE_TRACKS cannot be offered by PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishBlocked {
    /// The namespace's fields after the prefix.
    pub suffix: Namespace,
    /// The track's name.
    pub name: Bytes,
}

/// Asks for objects that were published already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Its request id.
    pub request_id: u64,
    /// Which objects.
    pub range: FetchRange,
    /// How to deliver.
    pub parameters: Parameters,
}

/// Which objects a FETCH wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchRange {
    /// A range of a named track.
    Standalone {
        /// The track.
        track: FullTrackName,
        /// The first place.
        start: Location,
        /// The last place.
        end: EndLocation,
    },
    /// The groups before the place where a subscription joins, up to that place.
    RelativeJoining {
        /// The subscription.
        joining_request_id: u64,
        /// How many whole groups before the joining one; 0 is from the start of the joining group.
        groups_back: u64,
    },
    /// From a given group up to the place where a subscription joins.
    AbsoluteJoining {
        /// The subscription.
        joining_request_id: u64,
        /// The first group.
        start_group: u64,
    },
}

impl FetchRange {
    /// The request id of the subscription that it joins.
    pub(crate) fn joined(&self) -> Option<u64> {
        match self {
            Self::Standalone { .. } => None,
            Self::RelativeJoining { joining_request_id, .. } | Self::AbsoluteJoining { joining_request_id, .. } => {
                Some(*joining_request_id)
            }
        }
    }
}

/// Accepts a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOk {
    /// The end of the range is the track's last object.
    pub end_of_track: bool,
    /// Where the answer ends.
    pub end: EndLocation,
    /// None are defined in draft-18.
    pub parameters: Parameters,
    /// Properties of the track.
    pub properties: Properties,
}

/// Offers a track to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Its request id.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// Stands for the track on data streams of this session.
    pub track_alias: u64,
    /// How it is delivered.
    pub parameters: Parameters,
    /// Properties of the track.
    pub properties: Properties,
}

/// Asks for the namespaces under a prefix, now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeNamespace {
    /// Its request id.
    pub request_id: u64,
    /// The prefix, 0 to 32 fields.
    pub prefix: Namespace,
    /// AUTHORIZATION_TOKEN.
    pub parameters: Parameters,
}

/// Asks for a PUBLISH of every track under a prefix, now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeTracks {
    /// Its request id.
    pub request_id: u64,
    /// The prefix, 0 to 32 fields.
    pub prefix: Namespace,
    /// AUTHORIZATION_TOKEN, FORWARD.
    pub parameters: Parameters,
}

/// Any control message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the message of its name")]
pub enum ControlMessage {
    Setup(Setup),
    Goaway(Goaway),
    RequestUpdate(RequestUpdate),
    Subscribe(Subscribe),
    SubscribeOk(SubscribeOk),
    RequestError(RequestError),
    PublishNamespace(PublishNamespace),
    RequestOk(RequestOk),
    Namespace(NamespaceFound),
    NamespaceDone(NamespaceDone),
    PublishDone(PublishDone),
    TrackStatus(TrackStatus),
    PublishBlocked(PublishBlocked),
    Fetch(Fetch),
    FetchOk(FetchOk),
    Publish(Publish),
    SubscribeNamespace(SubscribeNamespace),
    SubscribeTracks(SubscribeTracks),
}

/// Defines the numbers of the messages next to their names.
macro_rules! message_types {
    ($($variant:ident = $value:literal, $text:literal;)+) => {
        /// The number in front of a control message (draft-18 §10).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant is the message of its name")]
        pub enum MessageType {
            $($variant,)+
        }

        impl MessageType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The type with this number.
            pub const fn from_u64(value: u64) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn to_u64(self) -> u64 {
                match self {
                    $(Self::$variant => $value,)+
                }
            }

            /// The draft's name of the message.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl ControlMessage {
            /// The message's type.
            pub const fn message_type(&self) -> MessageType {
                match self {
                    $(Self::$variant(_) => MessageType::$variant,)+
                }
            }
        }
    };
}

message_types! {
    Setup = 0x2F00, "SETUP";
    Goaway = 0x10, "GOAWAY";
    RequestUpdate = 0x2, "REQUEST_UPDATE";
    Subscribe = 0x3, "SUBSCRIBE";
    SubscribeOk = 0x4, "SUBSCRIBE_OK";
    RequestError = 0x5, "REQUEST_ERROR";
    PublishNamespace = 0x6, "PUBLISH_NAMESPACE";
    RequestOk = 0x7, "REQUEST_OK";
    Namespace = 0x8, "NAMESPACE";
    NamespaceDone = 0xE, "NAMESPACE_DONE";
    PublishDone = 0xB, "PUBLISH_DONE";
    TrackStatus = 0xD, "TRACK_STATUS";
    PublishBlocked = 0xF, "PUBLISH_BLOCKED";
    Fetch = 0x16, "FETCH";
    FetchOk = 0x18, "FETCH_OK";
    Publish = 0x1D, "PUBLISH";
    SubscribeNamespace = 0x50, "SUBSCRIBE_NAMESPACE";
    SubscribeTracks = 0x51, "SUBSCRIBE_TRACKS";
}

impl ControlMessage {
    /// The request id, of messages that have their own; `None` for GOAWAY and for answers.
    pub const fn request_id(&self) -> Option<u64> {
        match self {
            Self::RequestUpdate(message) => Some(message.request_id),
            Self::Subscribe(message) => Some(message.request_id),
            Self::PublishNamespace(message) => Some(message.request_id),
            Self::TrackStatus(message) => Some(message.request_id),
            Self::Fetch(message) => Some(message.request_id),
            Self::Publish(message) => Some(message.request_id),
            Self::SubscribeNamespace(message) => Some(message.request_id),
            Self::SubscribeTracks(message) => Some(message.request_id),
            _ => None,
        }
    }

    /// Whether the message opens a request stream (marked "First" in draft-18 §10).
    pub const fn opens_request(&self) -> bool {
        !matches!(self, Self::RequestUpdate(_)) && self.request_id().is_some()
    }
}
