//! The bytes of MoQ Transport: encoders, and decoders that tell "not all here yet" from "broken".
//!
//! ```text
//!   control and request streams   ControlReader  -> ControlMessage        ControlMessage::encode
//!   subgroup streams              SubgroupReader -> SubgroupItem          SubgroupHeader::encode, encode_object_head
//!   fetch streams                 FetchReader    -> FetchItem             FetchHeader::encode, FetchWriter
//!   datagrams                     Datagram::decode                        ObjectDatagram::encode
//!   first bytes of a uni stream   StreamKind::peek
//! ```
//!
//! Whatever differs between versions takes the negotiated [`Draft`]. All limits of the draft are checked while reading; a
//! broken rule comes back as [`crate::Malformed`] with the code that closes the session.

mod auth_token;
mod codes;
mod control;
mod cursor;
mod datagram;
mod draft;
mod fetch;
mod filter;
mod message;
mod name;
mod object;
mod parameter;
pub mod property;
mod setup;
mod stream;
mod subgroup;
pub mod vi64;

pub use auth_token::{AuthToken, TOKEN_TYPE_OUT_OF_BAND};
pub use codes::{PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode};
pub use control::{BODY_LEN_MAX, ControlReader, MESSAGE_LEN_MAX};
pub use datagram::{Datagram, DatagramBody, ObjectDatagram};
pub use draft::Draft;
pub use fetch::{FetchHeader, FetchItem, FetchObjectHead, FetchReader, FetchWriter, MissingRange};
pub use filter::SubscriptionFilter;
pub use message::{
    ControlMessage, Fetch, FetchOk, FetchRange, Goaway, MessageType, NamespaceDone, NamespaceFound, Publish,
    PublishBlocked, PublishDone, PublishNamespace, REASON_LEN_MAX, Redirect, RequestError, RequestOk, RequestUpdate,
    SESSION_URI_LEN_MAX, Subscribe, SubscribeNamespace, SubscribeOk, SubscribeTracks, TrackStatus,
};
pub use name::{EndLocation, FULL_TRACK_NAME_LEN_MAX, FullTrackName, Location, NAMESPACE_FIELDS_MAX, Namespace};
pub use object::{ObjectStatus, PROPERTIES_LEN_MAX};
pub use parameter::{GroupOrder, Parameters, SUBSCRIBER_PRIORITY_DEFAULT};
pub use property::{Properties, Property, PropertyValue};
pub use setup::Setup;
pub use stream::{FETCH_STREAM, PADDING_DATAGRAM, PADDING_STREAM, SETUP_STREAM, StreamKind};
pub use subgroup::{
    SubgroupHeader, SubgroupId, SubgroupItem, SubgroupObject, SubgroupReader, encode_object_head, object_id_delta,
};
