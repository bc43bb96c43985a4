//! Why a request is refused, and why a whole session has to be closed.

use crate::error::{AuthError, Malformed};
use crate::wire::{RequestErrorCode, SessionError};

/// Why a session has to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fatal {
    pub(crate) code: SessionError,
    pub(crate) reason: String,
}

impl Fatal {
    pub(crate) fn new(code: SessionError, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(crate) fn violation(reason: impl Into<String>) -> Self {
        Self::new(SessionError::ProtocolViolation, reason)
    }
}

impl From<Malformed> for Fatal {
    fn from(malformed: Malformed) -> Self {
        Self { code: malformed.code, reason: format!("{}: {}", malformed.what, malformed.reason) }
    }
}

impl From<AuthError> for Fatal {
    fn from(error: AuthError) -> Self {
        Self::new(error.session_code(), error.reason())
    }
}

/// Why a request is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RequestErrorCode,
    pub(crate) reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(code: RequestErrorCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    pub(crate) const NO_TRACK: Self = Self { code: RequestErrorCode::DoesNotExist, reason: "no such track here" };
    pub(crate) const TOO_MANY_TRACKS: Self = Self {
        code: RequestErrorCode::ExcessiveLoad,
        reason: "the share of tracks of this input, audience or peer is used up; end some, or try again later",
    };
    pub(crate) const TOO_MANY_WAIT: Self = Self {
        code: RequestErrorCode::ExcessiveLoad,
        reason: "too many tracks that nobody publishes are waited for; end some, or try again later",
    };
    pub(crate) const TOO_MANY_NAMESPACES: Self = Self {
        code: RequestErrorCode::ExcessiveLoad,
        reason: "the share of namespaces of this input or peer is used up; withdraw some, or try again later",
    };
    pub(crate) const RANGE_OVER: Self =
        Self { code: RequestErrorCode::InvalidRange, reason: "the whole range was published already" };
    pub(crate) const NO_NAMESPACE: Self =
        Self { code: RequestErrorCode::DoesNotExist, reason: "no such namespace here" };
    pub(crate) const NO_RENDITION: Self =
        Self { code: RequestErrorCode::Unauthorized, reason: "the token does not allow this rendition" };
    pub(crate) const NO_PUBLISHING: Self =
        Self { code: RequestErrorCode::Unauthorized, reason: "this session may not publish this namespace" };
}
