//! Why watching did not work, in the terms a caller acts on.

use std::fmt;

use streams_relay_core::wire::{RequestErrorCode, SessionError};

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

/// What the end of a connection means to somebody who watches.
pub(crate) fn close_reason(error: &quinn::ConnectionError) -> PlayError {
    use quinn::ConnectionError as C;
    match error {
        C::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            session_closed(SessionError::from_u64(close.error_code.into_inner()), reason)
        }
        C::TransportError(error) => PlayError::unreachable(format!("no connection: {error}")),
        C::ConnectionClosed(close) => PlayError::unreachable(format!("no connection: the server said {close}")),
        C::TimedOut => PlayError::unreachable("no answer: the connection timed out"),
        C::Reset => PlayError::unreachable("the server no longer knows the connection: it was restarted"),
        other => PlayError::failed(other),
    }
}

/// What a session code means to somebody who watches.
pub(crate) fn session_closed(code: SessionError, reason: String) -> PlayError {
    let said = if reason.is_empty() { code.to_string() } else { reason };
    match code {
        SessionError::Unauthorized | SessionError::ExpiredAuthToken | SessionError::MalformedAuthToken => {
            PlayError::auth(said)
        }
        _ if said.starts_with("auth_failed") => PlayError::auth(said),
        SessionError::InvalidPath => PlayError::not_found(said),
        _ => PlayError::failed(format!("the server closed the session: {said}")),
    }
}

/// What a refused request means to somebody who watches.
pub(crate) fn request_refused(what: &str, code: RequestErrorCode, reason: &str) -> PlayError {
    let said = if reason.is_empty() { code.to_string() } else { reason.to_owned() };
    match code {
        RequestErrorCode::Unauthorized | RequestErrorCode::ExpiredAuthToken | RequestErrorCode::MalformedAuthToken => {
            PlayError::auth(said)
        }
        _ if said.starts_with("auth_failed") => PlayError::auth(said),
        RequestErrorCode::DoesNotExist => PlayError::not_found(format!("{what}: {said}")),
        _ => PlayError::failed(format!("{what} was refused ({code}): {said}")),
    }
}
