//! What the rules of the resources refuse, and what would be accepted.

use streams_contract::TunableError;

use super::live_inputs::{GRACE_S_MAX, INGEST_KINDS, META_LEN_MAX, NAME_LEN_MAX, RECONNECT_WINDOW_S_MAX};
use super::sessions::DRAIN_S_MAX;

/// Why a resource is not made, changed or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none with this id, or it is another organisation's.
    #[error("there is no {kind} {id}")]
    Unknown {
        /// `live input` or `signing key`.
        kind: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// No shard has a session with this number.
    #[error("there is no session {0}; their numbers are in the logs of control and engine (`session opened`)")]
    UnknownSession(String),
    /// A name of an input.
    #[error("name must have 1 to {NAME_LEN_MAX} printable characters")]
    Name,
    /// No kind of ingest.
    #[error("ingest is `{0}`; it must be one of {kinds}", kinds = INGEST_KINDS.join(", "))]
    Ingest(String),
    /// A reconnect window, in seconds.
    #[error("reconnect_window_s is {0}; at most {RECONNECT_WINDOW_S_MAX} is possible")]
    ReconnectWindow(u32),
    /// A `meta` of so many bytes.
    #[error("meta has {0} bytes; at most {META_LEN_MAX} are kept")]
    Meta(usize),
    /// A field of the contract behind which there is nothing yet.
    #[error("{what}; this build does not offer that yet: leave the field out or send {off}")]
    NotOffered {
        /// The field and its value.
        what: String,
        /// The value that switches it off.
        off: &'static str,
    },
    /// A grace of an old key, in seconds.
    #[error("grace_seconds is {0}; at most {GRACE_S_MAX} is possible")]
    Grace(u64),
    /// So many keys of an input are in force.
    #[error("{0} keys are in force already; rotate with grace_seconds 0 to end them")]
    KeysInForce(usize),
    /// A setting of the shards.
    #[error(transparent)]
    Tunable(#[from] TunableError),
    /// A shard above the last one.
    #[error("there is no such shard; write --shard 0 to {last}, or leave it out")]
    Shard {
        /// The highest number.
        last: usize,
    },
    /// Time that sessions have to leave, in seconds.
    #[error("timeout_seconds is {0}; at most {DRAIN_S_MAX} is possible")]
    DrainTimeout(u64),
}
