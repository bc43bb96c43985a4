//! What arrives at a client, stream by stream, and why its session has to be closed.

use crate::Malformed;
use crate::wire::{ControlReader, FetchReader, SessionError, SubgroupReader};

use super::RequestId;

/// Why the session has to be closed.
#[derive(Debug)]
pub(super) struct Fatal(pub(super) SessionError, pub(super) String);

impl Fatal {
    pub(super) fn violation(reason: impl Into<String>) -> Self {
        Self(SessionError::ProtocolViolation, reason.into())
    }
}

impl From<Malformed> for Fatal {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.code, format!("{}: {}", malformed.what, malformed.reason))
    }
}

/// What arrives on one stream.
#[derive(Debug)]
pub(super) enum Incoming {
    Fresh(Vec<u8>),
    Control(ControlReader),
    /// A request of ours.
    Request(ControlReader, RequestId),
    /// A request of the relay whose first message is not whole yet.
    Asked(ControlReader),
    Subgroup(SubgroupIn),
    /// The answer to a FETCH.
    Fetch(FetchReader, Option<RequestId>),
    Ignored,
}

/// A subgroup stream.
#[derive(Debug)]
pub(super) struct SubgroupIn {
    pub(super) reader: SubgroupReader,
    pub(super) request: Option<RequestId>,
    /// Known from the first object on.
    pub(super) subgroup: Option<u64>,
    pub(super) fin: bool,
}
