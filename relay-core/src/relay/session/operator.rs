//! What an operator does to sessions: closing them, and telling them to go away.

use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::relay::auth::Scope;
use crate::relay::keys::SessionKey;
use crate::relay::refusal::Fatal;
use crate::relay::{Relay, Role, SessionId};
use crate::wire::{ControlMessage, Goaway, SessionError};

use super::Session;

impl Relay {
    /// Publish sessions are asked for their key again: closes those whose input was deleted or disabled or whose key was
    /// rotated away. Call it when the directory has changed, and now and then, for a rotated key may count for a while.
    pub fn recheck_publishers(&mut self, now: Instant, unix_ms: u64, directory: &dyn Directory) {
        let lost = |scope: &Scope| scope.lost_its_input(directory, unix_ms);
        self.close_publishers(now, lost, "auth_failed: the publish key is no longer valid");
    }

    /// Closes the publish sessions of an input; they may come back.
    pub fn disconnect_publishers(&mut self, now: Instant, input: &str, reason: &str) {
        self.close_publishers(now, |scope| scope.role == Role::Publish && scope.is_about(input), reason);
    }

    /// Closes a session with a MoQT session code.
    pub fn kick(&mut self, now: Instant, id: SessionId, code: u64, reason: &str) {
        if let Some(&key) = self.by_id.get(&id) {
            self.close_with(now, key, code, reason.to_owned());
        }
    }

    /// A signing key was revoked: sessions that were let in by it are closed with `auth_failed`.
    pub fn revoke_key(&mut self, now: Instant, kid: &str) {
        self.close_affected(now, |session| session.is_signed_by(kid), AuthFault::RevokedKid);
    }

    /// A resource (`lv_`, `as_` or `pb_` id) was disabled or deleted: its sessions are closed with `auth_failed`.
    pub fn resource_disabled(&mut self, now: Instant, id: &str) {
        self.close_affected(now, |session| session.is_about(id), AuthFault::UnknownResource);
    }

    fn close_publishers(&mut self, now: Instant, lost: impl Fn(&Scope) -> bool, reason: &str) {
        let affected = |session: &Session| session.scope.as_ref().is_some_and(&lost);
        let keys: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| affected(session)).map(|(key, _)| key).collect();
        for key in keys {
            self.close(now, key, Fatal::new(SessionError::Unauthorized, reason.to_owned()));
        }
    }

    fn close_affected(&mut self, now: Instant, affected: impl Fn(&Session) -> bool, fault: AuthFault) {
        let keys: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| affected(session)).map(|(key, _)| key).collect();
        for key in keys {
            self.close(now, key, Fatal::from(AuthError::from(fault)));
        }
    }

    /// Tells every session to go away (GOAWAY) and closes the ones that are still here after `timeout`.
    pub fn drain(&mut self, now: Instant, timeout: Duration) {
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
