//! Why watching did not work, in the terms a caller acts on.

use std::fmt;

/// What a caller can do about an error; each has its own exit code in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayErrorKind {
    /// The server refused: the token is bad, expired or revoked.
    Auth,
    /// There is no such broadcast or rendition.
    NotFound,
    /// No connection, or a certificate that is not trusted.
    Unreachable,
    /// The URL or an option makes no sense.
    Usage,
    /// Everything else.
    Failed,
}

/// Why watching did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PlayError {
    /// What to do about it.
    pub kind: PlayErrorKind,
    /// What was wrong, for people. Never holds the token.
    pub reason: String,
}

impl PlayError {
    pub(crate) fn new(kind: PlayErrorKind, reason: impl fmt::Display) -> Self {
        Self { kind, reason: reason.to_string() }
    }

    pub(crate) fn auth(reason: impl fmt::Display) -> Self {
        Self::new(PlayErrorKind::Auth, reason)
    }

    pub(crate) fn not_found(reason: impl fmt::Display) -> Self {
        Self::new(PlayErrorKind::NotFound, reason)
    }

    pub(crate) fn unreachable(reason: impl fmt::Display) -> Self {
        Self::new(PlayErrorKind::Unreachable, reason)
    }

    pub(crate) fn usage(reason: impl fmt::Display) -> Self {
        Self::new(PlayErrorKind::Usage, reason)
    }

    pub(crate) fn failed(reason: impl fmt::Display) -> Self {
        Self::new(PlayErrorKind::Failed, reason)
    }
}
