//! Playback tokens: signed claims that let a viewer watch one resource for a while (JWT, RFC 7519).
//!
//! A token is `header.claims.signature`. The header names a key by `kid`; the key, not the header, decides the algorithm.
//! [`verify`] checks in this order, and stops at the first fault: form, key, algorithm, signature, claims' types, audience,
//! times, resource, issuer. Nothing in the claims is believed, or even read, before the signature holds.

mod claims;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use crate::directory::{Directory, SigningAlgorithm, SigningKey};
use crate::error::{AuthError, AuthFault};
use claims::Claims;

/// Longest token in bytes. Ours have about 500; RS256 with a 4096-bit key and long lists stays under 2000.
pub const TOKEN_LEN_MAX: usize = 4096;
/// Longest time between `iat` and `exp`, s.
pub const LIFETIME_S_MAX: u64 = 86_400;
/// How far clocks may differ, s.
pub const LEEWAY_S: u64 = 5;
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
    /// When it was issued, unix time in s.
    pub iat_s: u64,
    /// When it ends, unix time in s, without leeway.
    pub exp_s: u64,
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

/// Checks `token` for watching `path_id`, the id in the session's path.
///
/// # Errors
/// The first fault found; its reason begins with `auth_failed` and holds nothing of the token.
pub fn verify(token: &str, path_id: &str, keys: &dyn Directory, unix_now_s: u64) -> Result<Verified, AuthError> {
    let (kid, key, claims) = signed_claims(token, keys)?;
    if !claims.audience.iter().any(|audience| audience == AUDIENCE) {
        return Err(AuthFault::WrongAudience.into());
    }
    check_times(&claims, unix_now_s)?;
    let resource = keys.resource(path_id).ok_or(AuthFault::UnknownResource)?;
    let same_id = claims.subject == path_id;
    if !same_id && keys.resource(&claims.subject).is_none_or(|subject| subject.canonical != resource.canonical) {
        return Err(AuthFault::WrongSubject.into());
    }
    if claims.issuer != key.org || claims.issuer != resource.org {
        return Err(AuthFault::WrongIssuer.into());
    }
    Ok(Verified {
        kid,
        org: key.org,
        canonical: resource.canonical,
        iat_s: claims.iat_s,
        exp_s: claims.exp_s,
        jti: claims.jti,
        renditions: claims.renditions,
        origins: claims.origins,
        ip: claims.ip,
        max_sessions: claims.max_sessions,
    })
}

/// The claims of a token whose signature holds, and the key that it holds with.
fn signed_claims(token: &str, keys: &dyn Directory) -> Result<(String, SigningKey, Claims), AuthFault> {
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
    let key = keys.signing_key(&kid).ok_or(AuthFault::UnknownKid)?;
    if key.revoked {
        return Err(AuthFault::RevokedKid);
    }
    if header.alg != key.alg.name() {
        return Err(AuthFault::WrongAlgorithm);
    }
    check_signature(message, signature, &key)?;
    let claims = Claims::read(&part(payload)?)?;
    Ok((kid, key, claims))
}

fn part(encoded: &str) -> Result<Vec<u8>, AuthFault> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| AuthFault::Unreadable)
}

fn check_signature(message: &str, signature: &str, key: &SigningKey) -> Result<(), AuthFault> {
    let pem = key.public_key_pem.as_bytes();
    let (algorithm, decoding_key) = match key.alg {
        SigningAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        SigningAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
    };
    let decoding_key = decoding_key.map_err(|_| AuthFault::UnusableKey)?;
    let holds = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &decoding_key, algorithm);
    // An error here is a signature that is no base64url.
    if holds.unwrap_or(false) { Ok(()) } else { Err(AuthFault::BadSignature) }
}

fn check_times(claims: &Claims, unix_now_s: u64) -> Result<(), AuthFault> {
    if claims.exp_s.checked_sub(claims.iat_s).is_none_or(|lifetime_s| lifetime_s > LIFETIME_S_MAX) {
        return Err(AuthFault::LifetimeOutOfRange);
    }
    // RFC 7519 §4.1.4: not accepted "on or after" the expiration time.
    if unix_now_s >= claims.exp_s.saturating_add(LEEWAY_S) {
        return Err(AuthFault::Expired);
    }
    let not_before_s = claims.nbf_s.unwrap_or(0).max(claims.iat_s);
    if unix_now_s.saturating_add(LEEWAY_S) < not_before_s {
        return Err(AuthFault::NotYetValid);
    }
    Ok(())
}
