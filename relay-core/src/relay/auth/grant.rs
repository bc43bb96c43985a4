//! What a playback token grants, and how many sessions have it at once.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::token::{LEEWAY_MS, Verified, VerifyingKeys, verify};

/// A token that was accepted, and what it allows.
#[derive(Debug)]
pub(crate) struct Grant {
    token: String,
    verified: Verified,
    /// When it ends what stands on it, unix time in ms: `exp`, or with the leeway for a token that came within it.
    ends_ms: u64,
}

/// What tokens have in common whose sessions are counted together (`max_sessions`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TokenId {
    /// `jti`, within the org.
    Jti { org: String, jti: String },
    /// Without one: everything that a key signed for a resource.
    Subject { kid: String, subject: String },
}

impl Grant {
    /// Checks a token for the resource in the path.
    pub(crate) fn check(token: String, resource: &str, check: &mut TokenCheck<'_>) -> Result<Self, AuthError> {
        let verified = verify(&token, resource, check.directory, check.parsed, check.unix_now_ms)?;
        let Viewer { ip, .. } = check.viewer;
        if verified.ip.as_ref().is_some_and(|networks| !networks.iter().any(|network| contains(network, ip))) {
            return Err(AuthFault::WrongNetwork.into());
        }
        if verified.origins.as_ref().is_some_and(|origins| !check.viewer.comes_from(origins)) {
            return Err(AuthFault::WrongOrigin.into());
        }
        let leeway_ms = if check.unix_now_ms < verified.exp_ms { 0 } else { LEEWAY_MS };
        let ends_ms = verified.exp_ms.saturating_add(leeway_ms);
        Ok(Self { token, verified, ends_ms })
    }

    /// Checks what may have changed since the token was accepted.
    pub(crate) fn check_again(&self, resource: &str, check: &TokenCheck<'_>) -> Result<(), AuthError> {
        let directory = check.directory;
        if directory.signing_key(&self.verified.kid).is_none_or(|key| key.revoked) {
            return Err(AuthFault::RevokedKid.into());
        }
        let is_off = |id: &str| directory.resource(id).is_none_or(|resource| !resource.enabled);
        if is_off(resource) || is_off(&self.verified.subject) {
            return Err(AuthFault::UnknownResource.into());
        }
        if check.unix_now_ms >= self.verified.exp_ms.saturating_add(LEEWAY_MS) {
            return Err(AuthFault::Expired.into());
        }
        Ok(())
    }

    /// When it ends what stands on it, unix time in ms.
    pub(crate) fn ends_ms(&self) -> u64 {
        self.ends_ms
    }

    /// Whether this key signed it.
    pub(crate) fn is_signed_by(&self, kid: &str) -> bool {
        self.verified.kid == kid
    }

    /// Whether it was made for this resource.
    pub(crate) fn is_for(&self, id: &str) -> bool {
        self.verified.subject == id
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn org(&self) -> &str {
        &self.verified.org
    }

    pub(crate) fn canonical(&self) -> &str {
        &self.verified.canonical
    }

    /// Whether a track of this name may be read. A list of renditions names its tracks; their init tracks and the catalogs
    /// belong to every list.
    pub(crate) fn allows(&self, name: &[u8]) -> bool {
        let base = name.strip_suffix(b".init").unwrap_or(name);
        let renditions = self.verified.renditions.as_ref();
        matches!(name, b".catalog" | b"catalog")
            || renditions.is_none_or(|listed| listed.iter().any(|rendition| rendition.as_bytes() == base))
    }

    pub(crate) fn token_id(&self) -> Option<(TokenId, u32)> {
        let Verified { org, kid, subject, jti, max_sessions, .. } = &self.verified;
        let id = match jti.clone() {
            Some(jti) => TokenId::Jti { org: org.clone(), jti },
            None => TokenId::Subject { kid: kid.clone(), subject: subject.clone() },
        };
        max_sessions.map(|most| (id, most))
    }
}

/// Sessions that are open with tokens that count them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: HashMap<TokenId, u32>,
}

impl Places {
    /// Takes a place of a token that has `most` of them; `false` when all are taken.
    pub(crate) fn take(&mut self, id: &TokenId, most: u32) -> bool {
        let taken = self.taken.get(id).copied().unwrap_or_default();
        if taken >= most {
            return false;
        }
        self.taken.insert(id.clone(), taken + 1);
        true
    }

    pub(crate) fn give_back(&mut self, id: &TokenId) {
        if let Some(taken) = self.taken.get_mut(id) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.taken.remove(id);
            }
        }
    }
}

/// What tokens are checked against.
pub(crate) struct TokenCheck<'a> {
    pub(crate) directory: &'a dyn Directory,
    pub(crate) parsed: &'a mut VerifyingKeys,
    pub(crate) unix_now_ms: u64,
    pub(crate) viewer: Viewer<'a>,
    /// Counts tokens that do not hold.
    pub(crate) refused: &'a mut u64,
}

/// Where a session comes from, as far as a token may ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer<'a> {
    pub(crate) ip: IpAddr,
    /// The `Origin` that a browser gave.
    pub(crate) origin: Option<&'a str>,
}

impl Viewer<'_> {
    /// Scheme and host of an origin have no case (RFC 6454 §4). A client without an origin is on no list.
    pub(crate) fn comes_from(self, origins: &[String]) -> bool {
        self.origin.is_some_and(|origin| origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)))
    }
}

/// Whether a network in CIDR notation (or a single address) holds `address`. What cannot be read holds nothing.
fn contains(network: &str, address: IpAddr) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, ""));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let (base, address, width) = match (base, address.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let bits = if bits.is_empty() { Some(width) } else { bits.parse::<u32>().ok().filter(|bits| *bits <= width) };
    let Some(bits) = bits else { return false };
    // A shift by the whole width is no shift in Rust, and means that every address matches.
    let shift = width - bits;
    base.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let held = |network: &str, address: &str| contains(network, address.parse().unwrap());
        assert!(held("10.0.0.0/8", "10.1.2.3"));
        assert!(held("10.0.0.1", "10.0.0.1"));
        assert!(held("0.0.0.0/0", "1.2.3.4"));
        assert!(held("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(held("2001:db8::/32", "2001:db8::1"));
        assert!(!held("10.0.0.0/8", "11.0.0.1"));
        assert!(!held("10.0.0.0/33", "10.0.0.1"));
        assert!(!held("10.0.0.0/8", "2001:db8::1"));
        assert!(!held("everything", "10.0.0.1"));
    }
}
