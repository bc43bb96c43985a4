//! The claims of a playback token, typed.

use serde_json::{Map, Value};

use crate::error::AuthFault;

/// From this number of seconds on (the year 5138) a time is taken for milliseconds, which it is since 1973.
const MILLISECONDS_FROM: f64 = 1e11;

pub(super) struct Claims {
    pub issuer: String,
    pub subject: String,
    pub audience: Vec<String>,
    pub iat_ms: u64,
    pub nbf_ms: Option<u64>,
    pub exp_ms: u64,
    pub jti: Option<String>,
    pub renditions: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
    pub ip: Option<Vec<String>>,
    pub max_sessions: Option<u32>,
}

impl Claims {
    /// Reads the JSON object of a token's payload. Claims that we do not know are ignored; one of a wrong type is a fault,
    /// for a restriction that is misread must not become no restriction.
    pub(crate) fn read(json: &[u8]) -> Result<Self, AuthFault> {
        let claims: Map<String, Value> = serde_json::from_slice(json).map_err(|_| AuthFault::Unreadable)?;
        let max_sessions = optional(&claims, "max_sessions", Value::as_u64)?;
        Ok(Self {
            issuer: optional(&claims, "iss", text)?.ok_or(AuthFault::WrongIssuer)?,
            subject: optional(&claims, "sub", text)?.ok_or(AuthFault::WrongSubject)?,
            audience: optional(&claims, "aud", one_or_more)?.ok_or(AuthFault::WrongAudience)?,
            iat_ms: time(&claims, "iat")?.ok_or(AuthFault::NoLifetime)?,
            nbf_ms: time(&claims, "nbf")?,
            exp_ms: time(&claims, "exp")?.ok_or(AuthFault::NoLifetime)?,
            jti: optional(&claims, "jti", text)?,
            renditions: optional(&claims, "renditions", list)?,
            origins: optional(&claims, "origins", list)?,
            ip: optional(&claims, "ip", list)?,
            max_sessions: max_sessions.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        })
    }
}

fn optional<T>(
    claims: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, AuthFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => read(value).map(Some).ok_or(AuthFault::Unreadable),
    }
}

/// A NumericDate in milliseconds. RFC 7519 §2: seconds since 1970, "in which non-integer values can be represented".
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, AuthFault> {
    let seconds = match claims.get(claim) {
        None => return Ok(None),
        Some(Value::String(_)) => return Err(AuthFault::TimeIsText { claim }),
        Some(value) => value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
    };
    let seconds = seconds.ok_or(AuthFault::TimeUnreadable { claim })?;
    if seconds >= MILLISECONDS_FROM {
        return Err(AuthFault::TimeInMilliseconds { claim });
    }
    // Below 2^53: a float holds each of these milliseconds, and the conversion cuts nothing off.
    Ok(Some((seconds * 1000.0).round() as u64))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn one_or_more(value: &Value) -> Option<Vec<String>> {
    text(value).map(|single| vec![single]).or_else(|| list(value))
}
