//! What an operator does to sessions: closing them, and telling them to go away.

use std::time::{Duration, Instant};

use crate::error::{AuthError, AuthFault};
use crate::wire::{ControlMessage, Goaway, SessionError};

use super::auth::Scope;
use super::keys::SessionKey;
use super::refusal::Fatal;
use super::session::Session;
use super::{Relay, SessionId};

impl Relay {
    pub(super) fn kick_session(&mut self, now: Instant, id: SessionId, code: u64, reason: &str) {
        if let Some(&key) = self.by_id.get(&id) {
            self.close_with(now, key, code, reason.to_owned());
        }
    }

    pub(super) fn cut_by_key(&mut self, now: Instant, kid: &str) {
        self.cut(now, |session| session.is_signed_by(kid), AuthFault::RevokedKid);
    }

    pub(super) fn cut_by_resource(&mut self, now: Instant, id: &str) {
        self.cut(now, |session| session.is_about(id), AuthFault::UnknownResource);
    }

    pub(super) fn cut_publishers(&mut self, now: Instant, lost: impl Fn(&Scope) -> bool, reason: &str) {
        let affected = |session: &Session| session.scope.as_ref().is_some_and(&lost);
        let keys: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| affected(session)).map(|(key, _)| key).collect();
        for key in keys {
            self.close(now, key, Fatal::new(SessionError::Unauthorized, reason.to_owned()));
        }
    }

    fn cut(&mut self, now: Instant, affected: impl Fn(&Session) -> bool, fault: AuthFault) {
        let keys: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| affected(session)).map(|(key, _)| key).collect();
        for key in keys {
            self.close(now, key, Fatal::from(AuthError::from(fault)));
        }
    }

    pub(super) fn drain_sessions(&mut self, now: Instant, timeout: Duration) {
        let keys: Vec<SessionKey> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if session.is_closing() || std::mem::replace(&mut session.goaway_sent, true) {
                continue;
            }
            let goaway = Goaway {
                new_session_uri: String::new(),
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                request_id: Some(session.seen.next()),
            };
            session.say(&ControlMessage::Goaway(goaway));
            session.goaway_deadline = now.checked_add(timeout);
            self.mark_dirty(key);
            self.arm_session(now, key);
        }
    }
}
