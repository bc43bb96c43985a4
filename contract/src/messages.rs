//! Messages between control and the shards.

use serde::{Deserialize, Serialize};

use crate::{CloseCause, Protocol, SessionKind};

/// `sig` of every command and event message.
pub const MESSAGE_SIG: u64 = 1;

/// Control to shard, links `cmd.<i>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd")]
#[non_exhaustive]
pub enum Command {
    /// Cut the input's encoder now.
    DisconnectInput {
        /// `lv_…`
        input: String,
        /// Told to the encoder and logged.
        reason: String,
    },
    /// Cut every session whose token was signed by this key.
    RevokeKey {
        /// Key id.
        kid: String,
    },
    /// Cut one session.
    KickSession {
        /// Session id as in `SessionOpened`.
        session: u64,
        /// The organisation that asks: a session of another one stays. Absent: whoever's it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        org: Option<String>,
    },
    /// Read certificate and key again.
    ReloadCertificate,
    /// Accept nothing new, tell the sessions, end when they are gone or the deadline has passed.
    Drain {
        /// Unix time in milliseconds.
        deadline_ms: u64,
    },
}

/// Shard to control, links `events.<i>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A session passed its set-up.
    SessionOpened {
        /// Engine-wide session id.
        session: u64,
        /// Shard that owns it.
        shard: usize,
        /// What it may do.
        kind: SessionKind,
        /// Id in the path.
        resource: String,
        /// Address and port.
        peer: String,
    },
    /// A session ended.
    SessionClosed {
        /// Engine-wide session id.
        session: u64,
        /// Shard that owned it.
        shard: usize,
        /// Why. An engine of an older build does not say.
        #[serde(default)]
        cause: CloseCause,
        /// The same for people.
        reason: String,
    },
    /// An input has an encoder.
    IngestUp {
        /// `lv_…`
        input: String,
        /// Home shard.
        shard: usize,
        /// How it pushes.
        protocol: Protocol,
        /// Address and port.
        peer: String,
    },
    /// An input lost its encoder.
    IngestDown {
        /// `lv_…`
        input: String,
        /// Home shard.
        shard: usize,
        /// Why.
        reason: String,
    },
    /// An encoder was turned away.
    IngestRefused {
        /// `lv_…`, when the key named one.
        input: Option<String>,
        /// Shard that turned it away.
        shard: usize,
        /// Why.
        reason: String,
        /// Address and port.
        peer: String,
    },
}
