//! The claims of a playback token, typed.

use serde_json::{Map, Value};

use crate::error::AuthFault;

pub(super) struct Claims {
    pub issuer: String,
    pub subject: String,
    pub audience: Vec<String>,
    pub iat_s: u64,
    pub nbf_s: Option<u64>,
    pub exp_s: u64,
    pub jti: Option<String>,
    pub renditions: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
    pub ip: Option<Vec<String>>,
    pub max_sessions: Option<u32>,
}

impl Claims {
    /// Reads the JSON object of a token's payload. Claims that we do not know are ignored; one of a wrong type is a fault,
    /// for a restriction that is misread must not become no restriction.
    pub fn read(json: &[u8]) -> Result<Self, AuthFault> {
        let claims: Map<String, Value> = serde_json::from_slice(json).map_err(|_| AuthFault::Unreadable)?;
        let max_sessions = optional(&claims, "max_sessions", Value::as_u64)?;
        Ok(Self {
            issuer: optional(&claims, "iss", text)?.ok_or(AuthFault::WrongIssuer)?,
            subject: optional(&claims, "sub", text)?.ok_or(AuthFault::WrongSubject)?,
            audience: optional(&claims, "aud", one_or_more)?.ok_or(AuthFault::WrongAudience)?,
            iat_s: claims.get("iat").and_then(Value::as_u64).ok_or(AuthFault::NoLifetime)?,
            nbf_s: optional(&claims, "nbf", Value::as_u64)?,
            exp_s: claims.get("exp").and_then(Value::as_u64).ok_or(AuthFault::NoLifetime)?,
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

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn one_or_more(value: &Value) -> Option<Vec<String>> {
    text(value).map(|single| vec![single]).or_else(|| list(value))
}
