//! The errors of this crate.

use thiserror::Error as ThisError;

use crate::wire::SessionError;

/// Why bytes from a peer cannot be accepted. The session is closed with `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[error("{what}: {reason}; the session closes with {code}")]
pub struct Malformed {
    /// The session termination code of the draft (§3.5 Termination).
    pub code: SessionError,
    /// The message or field that was read.
    pub what: &'static str,
    /// The rule it broke.
    pub reason: &'static str,
}

impl Malformed {
    /// A `PROTOCOL_VIOLATION` in `what`.
    pub const fn violation(what: &'static str, reason: &'static str) -> Self {
        Self { code: SessionError::ProtocolViolation, what, reason }
    }

    /// A `KEY_VALUE_FORMATTING_ERROR` in `what`.
    pub const fn key_value(what: &'static str, reason: &'static str) -> Self {
        Self { code: SessionError::KeyValueFormatting, what, reason }
    }
}

/// Outcome of a decoder that may have been given too few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum DecodeError {
    /// The bytes so far are a prefix of something valid.
    #[error("more bytes are needed")]
    NeedMore,
    /// No continuation can make the bytes valid.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Everything that can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// A peer's bytes broke a rule of the draft.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A value of ours does not fit the wire.
    #[error("{what} is {len}, the limit is {limit}: make it smaller")]
    TooLarge {
        /// The value, with its unit.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The largest size the draft allows.
        limit: usize,
    },
    /// A value of ours that the draft does not allow in this place.
    #[error("{what}: {reason}")]
    Invalid {
        /// The value.
        what: &'static str,
        /// The rule it broke.
        reason: &'static str,
    },
    /// A playback token was refused.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// What is wrong with a playback token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ThisError)]
pub enum AuthFault {
    /// The request carries no token at all.
    #[error("no token")]
    Missing,
    /// The token is longer than any that we mint or accept.
    #[error("the token is longer than 4096 bytes")]
    TooLong,
    /// Not three base64url parts with JSON inside, or a claim of the wrong type.
    #[error("the token cannot be read")]
    Unreadable,
    /// The header has no `kid`.
    #[error("the token names no key (kid)")]
    NoKid,
    /// No such key.
    #[error("the token's key (kid) is unknown")]
    UnknownKid,
    /// The key was revoked.
    #[error("the token's key (kid) is revoked")]
    RevokedKid,
    /// The directory's entry of the key holds no key of its algorithm.
    #[error("the token's key (kid) cannot be used")]
    UnusableKey,
    /// The header's `alg` is not the key's.
    #[error("the token's alg is not the one of its key")]
    WrongAlgorithm,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// `iat` or `exp` is absent.
    #[error("the token needs iat and exp, in seconds")]
    NoLifetime,
    /// A time that can only be milliseconds (RFC 7519 §2, NumericDate: "the number of seconds").
    #[error("the token's {claim} is in milliseconds; the times of a token are seconds (RFC 7519)")]
    TimeInMilliseconds {
        /// `iat`, `nbf` or `exp`.
        claim: &'static str,
    },
    /// A time that is a string.
    #[error("the token's {claim} is text; the times of a token are numbers of seconds (RFC 7519)")]
    TimeIsText {
        /// `iat`, `nbf` or `exp`.
        claim: &'static str,
    },
    /// A time before 1970, or no number at all.
    #[error("the token's {claim} is no number of seconds since 1970 (RFC 7519)")]
    TimeUnreadable {
        /// `iat`, `nbf` or `exp`.
        claim: &'static str,
    },
    /// `exp` lies too far after `iat`, or before it.
    #[error("the token's lifetime (exp - iat) is not within 0 and 86400 s")]
    LifetimeOutOfRange,
    /// `exp` has passed.
    #[error("the token is expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` is not `playback`.
    #[error("the token's audience (aud) is not playback")]
    WrongAudience,
    /// `sub` is neither the id in the path nor another name of the same resource.
    #[error("the token is for another resource (sub)")]
    WrongSubject,
    /// The peer's address is in none of the networks of `ip`.
    #[error("the token is not for this network (ip)")]
    WrongNetwork,
    /// The page's origin is not in `origins`, or the client gave none.
    #[error("the token is not for this web origin (origins)")]
    WrongOrigin,
    /// `iss` is not the org of the key.
    #[error("the token's issuer (iss) is not the org of its key")]
    WrongIssuer,
    /// The resource in the path does not exist, is switched off, or belongs to another org than the key: to its holder all
    /// three look the same.
    #[error("there is no such resource")]
    UnknownResource,
    /// As many sessions as the token's `max_sessions` allows are open with it.
    #[error("all sessions that the token allows (max_sessions, {most}) are open; close one of them first")]
    SessionsInUse {
        /// The claim's value.
        most: u32,
    },
    /// The session showed one token after the other that does not hold.
    #[error("more than {most} bad tokens in one session")]
    TooManyFailures {
        /// As many are overlooked.
        most: u32,
    },
    /// One message shows more tokens than anybody needs.
    #[error("one message shows {count} tokens; at most {most} are looked at")]
    TooManyTokens {
        /// Tokens in the message.
        count: usize,
        /// The limit.
        most: usize,
    },
}

/// A refused playback token: tells what is wrong and never holds any part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ThisError)]
#[error("auth_failed: {fault}")]
pub struct AuthError {
    /// What is wrong.
    pub fault: AuthFault,
}

impl AuthError {
    /// The code for closing the session (draft-18 §3.5). A peer learns whether a newer token would help, and no more.
    pub fn session_code(self) -> SessionError {
        match self.fault {
            AuthFault::Expired => SessionError::ExpiredAuthToken,
            _ => SessionError::Unauthorized,
        }
    }

    /// The reason text for the wire; always begins with `auth_failed`.
    pub fn reason(self) -> String {
        self.to_string()
    }
}

impl From<AuthFault> for AuthError {
    fn from(fault: AuthFault) -> Self {
        Self { fault }
    }
}
