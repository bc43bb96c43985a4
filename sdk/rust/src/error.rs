//! Why watching did not work, in the terms a caller acts on.

use std::fmt;

use streams_relay_core::wire::{RequestErrorCode, SessionError};

/// What a caller can do about an error; each has its own exit code in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientErrorKind {
    /// The server refused: the token is bad, expired or revoked.
    Auth,
    /// There is no such broadcast or rendition.
    NotFound,
    /// No connection.
    Unreachable,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The URL or an option makes no sense.
    Usage,
    /// Everything else.
    Failed,
}

/// Why watching did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ClientError {
    /// What to do about it.
    pub kind: ClientErrorKind,
    /// What was wrong, for people. Never holds the token.
    pub reason: String,
}

impl ClientError {
    pub(crate) fn new(kind: ClientErrorKind, reason: impl fmt::Display) -> Self {
        Self { kind, reason: reason.to_string() }
    }

    pub(crate) fn auth(reason: impl fmt::Display) -> Self {
        Self::new(ClientErrorKind::Auth, reason)
    }

    pub(crate) fn not_found(reason: impl fmt::Display) -> Self {
        Self::new(ClientErrorKind::NotFound, reason)
    }

    pub(crate) fn unreachable(reason: impl fmt::Display) -> Self {
        Self::new(ClientErrorKind::Unreachable, reason)
    }

    pub(crate) fn usage(reason: impl fmt::Display) -> Self {
        Self::new(ClientErrorKind::Usage, reason)
    }

    pub(crate) fn failed(reason: impl fmt::Display) -> Self {
        Self::new(ClientErrorKind::Failed, reason)
    }
}

/// What the end of a connection means to somebody who watches.
pub(crate) fn close_reason(error: &quinn::ConnectionError) -> ClientError {
    use quinn::ConnectionError as C;
    match error {
        C::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            session_closed(SessionError::from_u64(close.error_code.into_inner()), reason)
        }
        C::TransportError(error) if is_about_certificate(error.code) => ClientError::new(
            ClientErrorKind::Untrusted,
            format!("the server's certificate is not trusted: {}", error.reason),
        ),
        C::TransportError(error) => ClientError::unreachable(format!("no connection: {error}")),
        C::ConnectionClosed(close) => ClientError::unreachable(format!("no connection: the server said {close}")),
        C::TimedOut => ClientError::unreachable("no answer: the connection timed out"),
        C::Reset => ClientError::unreachable("the server no longer knows the connection: it was restarted"),
        other => ClientError::failed(other),
    }
}

/// Whether TLS ended the handshake over the server's certificate (RFC 8446 §6.2): bad_certificate (42) to certificate_unknown (46),
/// unknown_ca (48), or a signature in it that does not verify, decrypt_error (51).
fn is_about_certificate(code: quinn::TransportErrorCode) -> bool {
    matches!(u64::from(code).checked_sub(CRYPTO_ERROR), Some(42..=46 | 48 | 51))
}

/// RFC 9001 §4.8: a TLS alert is this plus its number.
const CRYPTO_ERROR: u64 = 0x100;

/// What a session code means to somebody who watches.
pub(crate) fn session_closed(code: SessionError, reason: String) -> ClientError {
    let said = if reason.is_empty() { code.to_string() } else { reason };
    match code {
        SessionError::Unauthorized | SessionError::ExpiredAuthToken | SessionError::MalformedAuthToken => {
            ClientError::auth(said)
        }
        SessionError::InvalidPath => ClientError::not_found(said),
        _ => ClientError::failed(format!("the server closed the session: {said}")),
    }
}

/// What is asked for first: the catalog, which is there as long as somebody broadcasts.
pub(crate) const BROADCAST: &str = "the broadcast";

/// What a refused request means to somebody who watches.
pub(crate) fn request_refused(what: &str, code: RequestErrorCode, reason: &str) -> ClientError {
    let said = if reason.is_empty() { code.to_string() } else { reason.to_owned() };
    match code {
        RequestErrorCode::Unauthorized | RequestErrorCode::ExpiredAuthToken | RequestErrorCode::MalformedAuthToken => {
            ClientError::auth(said)
        }
        // MoQT-18 §10.6: nobody publishes the track. The relay knows no more, and the token was good, so this is not a lost link.
        RequestErrorCode::DoesNotExist if what == BROADCAST => {
            ClientError::not_found("nobody is broadcasting here: start the encoder, then play again")
        }
        RequestErrorCode::DoesNotExist => ClientError::not_found(format!("{what}: {said}")),
        _ => ClientError::failed(format!("{what} was refused ({code}): {said}")),
    }
}
