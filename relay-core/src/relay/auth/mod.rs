//! What a session may do: its role from its path, and the playback tokens it shows.

pub(super) mod grant;
pub(super) mod path;
pub(super) mod tokens;

use std::sync::Arc;

use bytes::Bytes;

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::wire::{AuthToken, FullTrackName, Namespace, SessionError};

use grant::{Grant, TokenCheck};
use path::PathRole;

use crate::relay::Role;
use crate::relay::refusal::{Fatal, Refusal};

/// First field of every namespace of this service.
const ROOT: &[u8] = b"stream";
/// Fields of the namespace of an input or asset: the root, its org, its id.
pub(crate) const INPUT_FIELDS: usize = 3;
/// Tokens of one message that are looked at: a session's own, and a fresh one beside it.
const TOKENS_PER_MESSAGE_MAX: usize = 2;
/// Bad tokens of a session that are overlooked because a good one stood beside them.
const FAILURES_MAX: u32 = 8;

/// What a session may do and on what ground.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) role: Role,
    /// The id in the path; empty in open mode.
    pub(crate) resource: String,
    /// The one namespace of a scoped session; `None` in open mode, and in a playback session until a token was accepted.
    pub(crate) namespace: Option<Namespace>,
    /// The token that came with the session, by its path or by SETUP.
    token: Option<String>,
    /// The session's token: requests that show none are made on its ground.
    grant: Option<Arc<Grant>>,
    /// Tokens that did not hold.
    failures: u32,
    /// The key that a publish session gave.
    publish_key: Option<String>,
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
                let token = setup_token(setup_tokens)?.or(token);
                Ok(Self { token, ..Self::new(Role::Playback, id) })
            }
            PathRole::Publish { id, key } => {
                let resource = directory.resource(&id).filter(|resource| resource.enabled);
                let (Some(resource), true) = (resource, directory.publish_key_ok(&id, &key, unix_now_ms)) else {
                    return Err(Fatal::new(SessionError::Unauthorized, "auth_failed: the publish key is not valid"));
                };
                let namespace = Some(namespace_of(&resource.org, &resource.canonical));
                Ok(Self { namespace, publish_key: Some(key), ..Self::new(Role::Publish, id) })
            }
            PathRole::Other if open => Ok(Self::new(Role::Open, String::new())),
            PathRole::Other => {
                Err(Fatal::new(SessionError::InvalidPath, "the path is neither /playback/<id> nor /publish/<id>"))
            }
        }
    }

    fn new(role: Role, resource: String) -> Self {
        Self { role, resource, namespace: None, token: None, grant: None, failures: 0, publish_key: None }
    }

    /// A publish session whose input was deleted or disabled since, or whose key no longer counts.
    pub(crate) fn lost_its_input(&self, directory: &dyn Directory, unix_now_ms: u64) -> bool {
        let Some(key) = &self.publish_key else { return false };
        let enabled = directory.resource(&self.resource).is_some_and(|resource| resource.enabled);
        !enabled || !directory.publish_key_ok(&self.resource, key, unix_now_ms)
    }

    /// Checks the tokens of a message, or when it carries none `own`, what it was allowed by before, or else the session's.
    /// Playback sessions need a valid one, and get what it grants; the other roles were decided at SETUP.
    pub(crate) fn authorize(
        &mut self,
        tokens: &[AuthToken],
        own: Option<&Arc<Grant>>,
        check: &mut TokenCheck<'_>,
    ) -> Result<Option<Arc<Grant>>, Fatal> {
        limit_tokens(tokens)?;
        let mut shown = tokens.iter().map(value_of).collect::<Result<Vec<String>, Fatal>>()?;
        if self.role != Role::Playback {
            return Ok(None);
        }
        if shown.is_empty() {
            let known = own.or(self.grant.as_ref()).map(|grant| grant.token().to_owned());
            shown.extend(known.or_else(|| self.token.clone()));
        }
        let mut fault = AuthError::from(AuthFault::Missing);
        for token in shown {
            let known = own.into_iter().chain(&self.grant).find(|grant| grant.token() == token).cloned();
            let outcome = match known {
                // The signature of a token that was let in already need not be checked again, all else does.
                Some(grant) => grant.check_again(&self.resource, check).map(|()| grant),
                None => Grant::check(token, &self.resource, check).map(Arc::new),
            };
            match outcome {
                Ok(grant) => {
                    self.namespace = Some(namespace_of(grant.org(), grant.canonical()));
                    // A token of one request is for that request; one that replaces the session's is the session's.
                    let replaces = self.grant.as_ref().zip(own).is_some_and(|(current, own)| Arc::ptr_eq(current, own));
                    if self.grant.is_none() || (replaces && !tokens.is_empty()) {
                        self.grant = Some(Arc::clone(&grant));
                    }
                    return Ok(Some(grant));
                }
                Err(error) => fault = error,
            }
            *check.refused += 1;
            self.failures += 1;
            if self.failures > FAILURES_MAX {
                return Err(AuthError::from(AuthFault::TooManyFailures { most: FAILURES_MAX }).into());
            }
        }
        Err(fault.into())
    }

    /// A playback session that brought a token, by its path or by SETUP; `None` for other roles.
    pub(crate) fn brought_token(&self) -> Option<bool> {
        (self.role == Role::Playback).then_some(self.token.is_some())
    }

    /// The session's token.
    pub(crate) fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// Another accepted token takes the place of one that ended.
    pub(crate) fn fall_back(&mut self, grant: Arc<Grant>) {
        self.grant = Some(grant);
    }

    /// Whether the session may read a track on the ground of a grant.
    pub(crate) fn may_read(&self, grant: Option<&Grant>, track: &FullTrackName) -> Result<(), Refusal> {
        match self.role {
            Role::Open => allowed_in_open_mode(&track.namespace).ok_or(Refusal::NO_TRACK),
            Role::Playback | Role::Publish => {
                if self.namespace.as_ref() != Some(&track.namespace) {
                    return Err(Refusal::NO_TRACK);
                }
                if grant.is_some_and(|grant| !grant.allows(&track.name)) {
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

    /// The input that a publish session publishes.
    pub(crate) fn publishes_for(&self) -> Option<String> {
        let id = self.namespace.as_ref().filter(|_| self.role == Role::Publish)?.fields().last()?;
        Some(String::from_utf8_lossy(id).into_owned())
    }

    /// Whether the session is about this resource, by its path's id or by the id its media is published under.
    pub(crate) fn is_about(&self, id: &str) -> bool {
        let canonical = self.namespace.as_ref().and_then(|namespace| namespace.fields().last());
        self.resource == id || (self.role != Role::Open && canonical.is_some_and(|own| own == id.as_bytes()))
    }
}

fn namespace_of(org: &str, canonical: &str) -> Namespace {
    let field = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Namespace(vec![Bytes::from_static(ROOT), field(org), field(canonical)])
}

/// What all namespaces of this service have in common.
pub(crate) fn root_namespace() -> Namespace {
    Namespace(vec![Bytes::from_static(ROOT)])
}

/// Org and id of the resource that a namespace belongs to.
pub(crate) fn resource_of(namespace: &Namespace) -> Option<(&Bytes, &Bytes)> {
    match namespace.fields() {
        [root, org, id, ..] if root == ROOT => Some((org, id)),
        _ => None,
    }
}

fn allowed_in_open_mode(namespace: &Namespace) -> Option<()> {
    // MoQT-18 §3.2.1: names that begin with a dot are the protocol's own; none of them is served here.
    let first = namespace.fields().first()?;
    (first.as_ref() != ROOT && !namespace.is_reserved()).then_some(())
}

/// No message needs many tokens, and each one costs the check of a signature.
fn limit_tokens(tokens: &[AuthToken]) -> Result<(), Fatal> {
    let (count, most) = (tokens.len(), TOKENS_PER_MESSAGE_MAX);
    if count > most { Err(AuthError::from(AuthFault::TooManyTokens { count, most }).into()) } else { Ok(()) }
}

/// The token of SETUP, if it has one.
fn setup_token(tokens: &[AuthToken]) -> Result<Option<String>, Fatal> {
    limit_tokens(tokens)?;
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
