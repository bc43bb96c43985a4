//! Playback tokens: signed claims that let a viewer watch one resource for a while (JWT, RFC 7519).
//!
//! A token is `header.claims.signature`. The header names a key by `kid`; the key, not the header, decides the algorithm.
//! [`verify`] checks in this order, and stops at the first fault: form, key, algorithm, signature, claims' types, audience,
//! times, issuer, subject, resource. Nothing in the claims is believed, or even read, before the signature holds, and whether
//! the resource exists is told only to those whose token is for it.

mod claims;
mod keys;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::directory::{Directory, Resource, SigningKey};
use crate::error::{AuthError, AuthFault};
use claims::Claims;
pub use keys::VerifyingKeys;

/// Longest token in bytes. Ours have about 500; RS256 with a 4096-bit key and long lists stays under 2000.
pub const TOKEN_LEN_MAX: usize = 4096;
/// Longest time between `iat` and `exp`, ms.
pub const LIFETIME_MS_MAX: u64 = 86_400_000;
/// How far clocks may differ, ms.
pub const LEEWAY_MS: u64 = 5_000;
/// The `aud` of a playback token.
pub const AUDIENCE: &str = "playback";

/// What a valid token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed it.
    pub kid: String,
    /// The org of the key and of the resource.
    pub org: String,
    /// The id its media is published under (`lv_…` or `as_…`).
    pub canonical: String,
    /// The id that it names (`sub`), in the path or another of the same resource.
    pub subject: String,
    /// When it was issued, unix time in ms.
    pub iat_ms: u64,
    /// When it ends, unix time in ms, without leeway.
    pub exp_ms: u64,
    /// The token's own id.
    pub jti: Option<String>,
    /// Renditions that may be watched; `None` is all.
    pub renditions: Option<Vec<String>>,
    /// Web origins that may watch; `None` is all.
    pub origins: Option<Vec<String>>,
    /// Networks (CIDR) that may watch; `None` is all.
    pub ip: Option<Vec<String>>,
    /// Most sessions at once with this token.
    pub max_sessions: Option<u32>,
}

/// The fields of a token's header that count. An unknown `crit` must be refused (RFC 7515 §4.1.11), and we know none.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// Checks `token` for watching `path_id`, the id in the session's path. `parsed` remembers keys from call to call.
///
/// # Errors
/// The first fault found; its reason begins with `auth_failed` and holds nothing of the token.
pub fn verify(
    token: &str,
    path_id: &str,
    directory: &dyn Directory,
    parsed: &mut VerifyingKeys,
    unix_now_ms: u64,
) -> Result<Verified, AuthError> {
    let (kid, key, claims) = signed_claims(token, directory, parsed)?;
    if !claims.audience.iter().any(|audience| audience == AUDIENCE) {
        return Err(AuthFault::WrongAudience.into());
    }
    check_times(&claims, unix_now_ms)?;
    if claims.issuer != key.org {
        return Err(AuthFault::WrongIssuer.into());
    }
    let resource = directory.resource(path_id);
    if claims.subject != path_id {
        let subject = directory.resource(&claims.subject).filter(|subject| subject.enabled);
        let named = |other: &Resource| resource.as_ref().is_some_and(|resource| resource.canonical == other.canonical);
        subject.filter(named).ok_or(AuthFault::WrongSubject)?;
    }
    let resource = resource.filter(|resource| resource.org == key.org && is_on(resource, directory));
    let resource = resource.ok_or(AuthFault::UnknownResource)?;
    Ok(Verified {
        kid,
        org: key.org,
        canonical: resource.canonical,
        subject: claims.subject,
        iat_ms: claims.iat_ms,
        exp_ms: claims.exp_ms,
        jti: claims.jti,
        renditions: claims.renditions,
        origins: claims.origins,
        ip: claims.ip,
        max_sessions: claims.max_sessions,
    })
}

/// Whether neither the resource nor the one that it stands for is switched off.
fn is_on(resource: &Resource, directory: &dyn Directory) -> bool {
    resource.enabled && directory.resource(&resource.canonical).is_none_or(|canonical| canonical.enabled)
}

/// The claims of a token whose signature holds, and the key that it holds with.
fn signed_claims(
    token: &str,
    directory: &dyn Directory,
    parsed: &mut VerifyingKeys,
) -> Result<(String, SigningKey, Claims), AuthFault> {
    if token.is_empty() {
        return Err(AuthFault::Missing);
    }
    if token.len() > TOKEN_LEN_MAX {
        return Err(AuthFault::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(AuthFault::Unreadable)?;
    let (header, payload) = message.split_once('.').ok_or(AuthFault::Unreadable)?;
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| AuthFault::Unreadable)?;
    if header.crit.is_some() {
        return Err(AuthFault::Unreadable);
    }
    let kid = header.kid.ok_or(AuthFault::NoKid)?;
    let key = directory.signing_key(&kid).ok_or(AuthFault::UnknownKid)?;
    if key.revoked {
        return Err(AuthFault::RevokedKid);
    }
    if header.alg != key.alg.name() {
        return Err(AuthFault::WrongAlgorithm);
    }
    if !parsed.holds(message, signature, &kid, &key)? {
        return Err(AuthFault::BadSignature);
    }
    let claims = Claims::read(&part(payload)?)?;
    Ok((kid, key, claims))
}

fn part(encoded: &str) -> Result<Vec<u8>, AuthFault> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| AuthFault::Unreadable)
}

fn check_times(claims: &Claims, unix_now_ms: u64) -> Result<(), AuthFault> {
    if claims.exp_ms.checked_sub(claims.iat_ms).is_none_or(|lifetime_ms| lifetime_ms > LIFETIME_MS_MAX) {
        return Err(AuthFault::LifetimeOutOfRange);
    }
    // RFC 7519 §4.1.4: not accepted "on or after" the expiration time.
    if unix_now_ms >= claims.exp_ms.saturating_add(LEEWAY_MS) {
        return Err(AuthFault::Expired);
    }
    let not_before_ms = claims.nbf_ms.unwrap_or(0).max(claims.iat_ms);
    if unix_now_ms.saturating_add(LEEWAY_MS) < not_before_ms {
        return Err(AuthFault::NotYetValid);
    }
    Ok(())
}
