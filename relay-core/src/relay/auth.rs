//! What a session may do: its role from its path, and the playback tokens it shows.

use std::net::IpAddr;

use bytes::Bytes;

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::token::LEEWAY_S;
use crate::wire::{AuthToken, FullTrackName, Namespace, RequestErrorCode, SessionError};

use super::Role;
use super::session::Fatal;

/// First field of every namespace of this service.
const ROOT: &[u8] = b"stream";

/// A token that was accepted.
#[derive(Debug, Clone)]
struct Grant {
    token: String,
    kid: String,
    exp_s: u64,
    /// When it ends the session, unix time in ms: `exp`, or with the leeway for a token that came within it.
    ends_ms: u64,
    renditions: Option<Vec<String>>,
}

/// What a session may do and on what ground.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) role: Role,
    /// The id in the path; empty in open mode.
    pub(crate) resource: String,
    /// The one namespace of a scoped session; `None` in open mode and when the resource does not exist.
    pub(crate) namespace: Option<Namespace>,
    /// The token that came with the session, by its path or by SETUP.
    token: Option<String>,
    grant: Option<Grant>,
    /// The key that a publish session gave.
    publish_key: Option<String>,
}

/// Roles by path.
#[derive(Debug, PartialEq, Eq)]
enum PathRole {
    Playback { id: String, token: Option<String> },
    Publish { id: String, key: String },
    Other,
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
    fn comes_from(self, origins: &[String]) -> bool {
        self.origin.is_some_and(|origin| origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)))
    }
}

/// Why a session may not use a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RequestErrorCode,
    pub(crate) reason: &'static str,
}

impl Refusal {
    pub(crate) const NO_TRACK: Self = Self { code: RequestErrorCode::DoesNotExist, reason: "no such track here" };
    pub(crate) const TOO_MANY_TRACKS: Self =
        Self { code: RequestErrorCode::ExcessiveLoad, reason: "too many tracks; try again later" };
    pub(crate) const RANGE_OVER: Self =
        Self { code: RequestErrorCode::InvalidRange, reason: "the whole range was published already" };
    pub(crate) const NO_NAMESPACE: Self =
        Self { code: RequestErrorCode::DoesNotExist, reason: "no such namespace here" };
    const NO_RENDITION: Self =
        Self { code: RequestErrorCode::Unauthorized, reason: "the token does not allow this rendition" };
    const NO_PUBLISHING: Self =
        Self { code: RequestErrorCode::Unauthorized, reason: "this session may not publish this namespace" };
}

impl Scope {
    /// Decides a session's role from its path and query.
    pub(crate) fn from_path(
        path: &str,
        setup_tokens: &[AuthToken],
        open: bool,
        directory: &dyn Directory,
        unix_now_ms: u64,
    ) -> Result<Self, Fatal> {
        match PathRole::parse(path) {
            PathRole::Playback { id, token } => {
                let namespace =
                    directory.resource(&id).map(|resource| namespace_of(&resource.org, &resource.canonical));
                let token = setup_token(setup_tokens)?.or(token);
                Ok(Self { role: Role::Playback, resource: id, namespace, token, grant: None, publish_key: None })
            }
            PathRole::Publish { id, key } => {
                let resource = directory.resource(&id).filter(|resource| resource.enabled);
                let (Some(resource), true) = (resource, directory.publish_key_ok(&id, &key, unix_now_ms)) else {
                    return Err(Fatal::new(SessionError::Unauthorized, "auth_failed: the publish key is not valid"));
                };
                let namespace = Some(namespace_of(&resource.org, &resource.canonical));
                let publish_key = Some(key);
                Ok(Self { role: Role::Publish, resource: id, namespace, token: None, grant: None, publish_key })
            }
            PathRole::Other if open => {
                let resource = String::new();
                Ok(Self { role: Role::Open, resource, namespace: None, token: None, grant: None, publish_key: None })
            }
            PathRole::Other => {
                Err(Fatal::new(SessionError::InvalidPath, "the path is neither /playback/<id> nor /publish/<id>"))
            }
        }
    }

    /// A publish session whose input was deleted or disabled since, or whose key no longer counts.
    pub(crate) fn lost_its_input(&self, directory: &dyn Directory, unix_now_ms: u64) -> bool {
        let Some(key) = &self.publish_key else { return false };
        let enabled = directory.resource(&self.resource).is_some_and(|resource| resource.enabled);
        !enabled || !directory.publish_key_ok(&self.resource, key, unix_now_ms)
    }

    /// Checks the tokens of a request, or the session's own when it carries none. Playback sessions need a valid one;
    /// the other roles were decided at SETUP.
    pub(crate) fn authorize(
        &mut self,
        tokens: &[AuthToken],
        directory: &dyn Directory,
        unix_now_ms: u64,
        viewer: Viewer<'_>,
    ) -> Result<(), Fatal> {
        let mut shown = Vec::new();
        for token in tokens {
            shown.push(value_of(token)?);
        }
        if self.role != Role::Playback {
            return Ok(());
        }
        if shown.is_empty() {
            let current = self.grant.as_ref().map(|grant| grant.token.clone()).or_else(|| self.token.clone());
            shown.extend(current);
        }
        let mut fault = AuthError::from(AuthFault::Missing);
        for token in shown {
            match self.check(token, directory, unix_now_ms, viewer) {
                Ok(()) => return Ok(()),
                Err(error) => fault = error,
            }
        }
        Err(refused(fault))
    }

    fn check(
        &mut self,
        token: String,
        directory: &dyn Directory,
        unix_now_ms: u64,
        viewer: Viewer<'_>,
    ) -> Result<(), AuthError> {
        let unix_now_s = unix_now_ms / 1000;
        if directory.resource(&self.resource).is_none_or(|resource| !resource.enabled) {
            return Err(AuthFault::UnknownResource.into());
        }
        // The signature of a token that was let in already need not be checked again, its key and its time do.
        if let Some(grant) = &self.grant
            && grant.token == token
        {
            if directory.signing_key(&grant.kid).is_none_or(|key| key.revoked) {
                return Err(AuthFault::RevokedKid.into());
            }
            if unix_now_s >= grant.exp_s.saturating_add(LEEWAY_S) {
                return Err(AuthFault::Expired.into());
            }
            return Ok(());
        }
        let verified = crate::token::verify(&token, &self.resource, directory, unix_now_s)?;
        if verified.ip.as_ref().is_some_and(|networks| !networks.iter().any(|network| contains(network, viewer.ip))) {
            return Err(AuthFault::WrongNetwork.into());
        }
        if verified.origins.as_ref().is_some_and(|origins| !viewer.comes_from(origins)) {
            return Err(AuthFault::WrongOrigin.into());
        }
        self.namespace = Some(namespace_of(&verified.org, &verified.canonical));
        let (kid, exp_s, renditions) = (verified.kid, verified.exp_s, verified.renditions);
        let leeway_s = if unix_now_s < exp_s { 0 } else { LEEWAY_S };
        let ends_ms = exp_s.saturating_add(leeway_s).saturating_mul(1000);
        self.grant = Some(Grant { token, kid, exp_s, ends_ms, renditions });
        Ok(())
    }

    /// Whether the session may read a track.
    pub(crate) fn may_read(&self, track: &FullTrackName) -> Result<(), Refusal> {
        match self.role {
            Role::Open => allowed_in_open_mode(&track.namespace).ok_or(Refusal::NO_TRACK),
            Role::Playback | Role::Publish => {
                if self.namespace.as_ref() != Some(&track.namespace) {
                    return Err(Refusal::NO_TRACK);
                }
                let renditions = self.grant.as_ref().and_then(|grant| grant.renditions.as_ref());
                if renditions.is_some_and(|renditions| !lists(renditions, &track.name)) {
                    return Err(Refusal::NO_RENDITION);
                }
                Ok(())
            }
        }
    }

    /// Whether the session may look at the namespaces under a prefix.
    pub(crate) fn may_watch(&self, prefix: &Namespace) -> Result<(), Refusal> {
        match (self.role, &self.namespace) {
            (Role::Open, _) if prefix.fields().is_empty() => Ok(()),
            (Role::Open, _) => allowed_in_open_mode(prefix).ok_or(Refusal::NO_NAMESPACE),
            (_, Some(namespace)) if namespace.starts_with(prefix) || prefix.starts_with(namespace) => Ok(()),
            _ => Err(Refusal::NO_NAMESPACE),
        }
    }

    /// Whether a watched namespace may be shown to the session.
    pub(crate) fn may_see(&self, namespace: &Namespace) -> bool {
        match self.role {
            Role::Open => allowed_in_open_mode(namespace).is_some(),
            Role::Playback | Role::Publish => self.namespace.as_ref().is_some_and(|own| namespace.starts_with(own)),
        }
    }

    /// Whether the session may publish under a namespace.
    pub(crate) fn may_publish(&self, namespace: &Namespace) -> Result<(), Refusal> {
        let allowed = match self.role {
            Role::Open => allowed_in_open_mode(namespace).is_some(),
            Role::Publish => self.namespace.as_ref().is_some_and(|own| namespace.starts_with(own)),
            Role::Playback => false,
        };
        if allowed { Ok(()) } else { Err(Refusal::NO_PUBLISHING) }
    }

    /// Unix time in milliseconds at which the accepted token ends the session.
    pub(crate) fn expires_unix_ms(&self) -> Option<u64> {
        self.grant.as_ref().map(|grant| grant.ends_ms)
    }

    /// Whether the session was let in by this key.
    pub(crate) fn is_signed_by(&self, kid: &str) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.kid == kid)
    }

    /// Whether the session is about this resource, by its path's id or by the id its media is published under.
    pub(crate) fn is_about(&self, id: &str) -> bool {
        let canonical = self.namespace.as_ref().and_then(|namespace| namespace.fields().last());
        self.resource == id || (self.role != Role::Open && canonical.is_some_and(|own| own == id.as_bytes()))
    }
}

/// The close that an unacceptable token leads to.
pub(crate) fn refused(error: AuthError) -> Fatal {
    Fatal::new(error.session_code(), error.reason())
}

fn namespace_of(org: &str, canonical: &str) -> Namespace {
    let field = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Namespace(vec![Bytes::from_static(ROOT), field(org), field(canonical)])
}

fn allowed_in_open_mode(namespace: &Namespace) -> Option<()> {
    // MoQT-18 §3.2.1: names that begin with a dot are the protocol's own; none of them is served here.
    let first = namespace.fields().first()?;
    (first.as_ref() != ROOT && !namespace.is_reserved()).then_some(())
}

/// A list of renditions names its tracks; their init tracks and the catalogs belong to every list.
fn lists(renditions: &[String], name: &[u8]) -> bool {
    let base = name.strip_suffix(b".init").unwrap_or(name);
    matches!(name, b".catalog" | b"catalog") || renditions.iter().any(|rendition| rendition.as_bytes() == base)
}

/// The token of SETUP, if it has one.
fn setup_token(tokens: &[AuthToken]) -> Result<Option<String>, Fatal> {
    let mut found = None;
    for token in tokens {
        match token {
            // MoQT-18 §10.3.1.4: a REGISTER over our limit (we keep no aliases) counts as USE_VALUE.
            AuthToken::UseValue { value, .. } | AuthToken::Register { value, .. } => found = Some(text(value)),
            AuthToken::Delete { .. } | AuthToken::UseAlias { .. } => {
                return Err(Fatal::violation("a token alias in SETUP cannot refer to anything"));
            }
        }
    }
    Ok(found)
}

/// The token in a request. We announce no MAX_AUTH_TOKEN_CACHE_SIZE, so there are no aliases (MoQT-18 §10.2.2).
fn value_of(token: &AuthToken) -> Result<String, Fatal> {
    match token {
        AuthToken::UseValue { value, .. } => Ok(text(value)),
        AuthToken::Register { .. } => {
            Err(Fatal::new(SessionError::AuthTokenCacheOverflow, "this server keeps no token aliases"))
        }
        AuthToken::UseAlias { .. } | AuthToken::Delete { .. } => {
            Err(Fatal::new(SessionError::UnknownAuthTokenAlias, "no token has this alias"))
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl PathRole {
    fn parse(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (kind, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let id = id.trim_end_matches('/');
        if id.is_empty() || id.contains('/') {
            return Self::Other;
        }
        match kind {
            "playback" => Self::Playback { id: id.to_owned(), token: query_value(query, "tok") },
            "publish" => Self::Publish { id: id.to_owned(), key: query_value(query, "sk").unwrap_or_default() },
            _ => Self::Other,
        }
    }
}

fn query_value(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decoded(pair))
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match pair.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
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
    fn a_path_decides_the_role() {
        let playback =
            |id: &str, token: Option<&str>| PathRole::Playback { id: id.to_owned(), token: token.map(str::to_owned) };
        assert_eq!(PathRole::parse("/playback/lv_1?tok=a.b.c"), playback("lv_1", Some("a.b.c")));
        assert_eq!(PathRole::parse("/playback/lv_1"), playback("lv_1", None));
        assert_eq!(PathRole::parse("/playback/lv_1?x=1&tok=a%2Eb"), playback("lv_1", Some("a.b")));
        let publish = PathRole::Publish { id: "lv_1".to_owned(), key: "k".to_owned() };
        assert_eq!(PathRole::parse("/publish/lv_1?sk=k"), publish);
        for path in ["", "/", "/playback", "/playback/", "/playback/a/b", "/other/lv_1"] {
            assert_eq!(PathRole::parse(path), PathRole::Other, "{path}");
        }
    }

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
