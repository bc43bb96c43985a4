//! Where the shares of tenants are kept: their tracks, waiting tracks, publishers, bytes on their way, and the cache.

use crate::wire::{FullTrackName, SessionError};

use super::keys::{SessionKey, TenantKey, TrackKey};
use super::refusal::{Fatal, Refusal};
use super::session::Session;
use super::tenants::{Good, TenantName};
use super::{Relay, Role};

impl Relay {
    /// A session whose scope is known, or was just granted, uses the share of its input or audience from now on.
    pub(super) fn settle_tenant(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some((role, Some(namespace))) = session.scope.as_ref().map(|scope| (scope.role, &scope.namespace)) else {
            return;
        };
        let name = match role {
            Role::Publish => TenantName::publishers(namespace),
            Role::Playback => TenantName::audience(namespace),
            Role::Open => return,
        };
        let (from, to) = (session.tenant, self.tenants.enter(name));
        self.recount_receiving(key, from, to);
        if let Some(session) = self.sessions.get_mut(key) {
            session.tenant = to;
        }
        self.tenants.leave(from);
    }

    /// One key must not open sessions without end: each has requests, streams and buffers of its own.
    pub(super) fn limit_publishers(&mut self, key: SessionKey) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let (tenant, most) = (session.tenant, self.config.publishers_per_input_max);
        let others = self.sessions.iter().filter(|(other, session)| {
            *other != key
                && session.tenant == tenant
                && !session.is_closing()
                && session.scope.as_ref().is_some_and(|scope| scope.role == Role::Publish)
        });
        if others.count() < most {
            return Ok(());
        }
        self.counters.sessions_refused += 1;
        let reason = format!("{most} sessions publish this input here already, which is the most: close one of them");
        Err(Fatal::new(SessionError::Internal, reason))
    }

    /// A new track for a session (`None`: for another shard), within the share of its tenant.
    pub(super) fn new_track(&mut self, asker: Option<SessionKey>, name: FullTrackName) -> Result<TrackKey, Refusal> {
        let tenant = self.tenant_for(asker, &name);
        self.insert_track(tenant, name, self.config.tracks_max)
    }

    /// The same, for a track that nobody may publish.
    pub(super) fn new_waiting_track(
        &mut self,
        asker: Option<SessionKey>,
        name: &FullTrackName,
    ) -> Result<TrackKey, Refusal> {
        let waiting = asker.and_then(|asker| self.sessions.get(asker)).map_or(0, |session| session.waiting());
        let tenant = self.tenant_for(asker, name);
        let most = self.config.waiting_tenant_max;
        let crowded = self.tenants.held(tenant, Good::Tracks) >= most && self.tracks.waiting_of(tenant) >= most;
        if waiting >= self.config.waiting_session_max || crowded {
            self.tenants.leave(tenant);
            self.counters.tracks_refused += 1;
            return Err(Refusal::TOO_MANY_WAIT);
        }
        self.insert_track(tenant, name.clone(), self.config.tracks_max)
    }

    /// A track of the ingest. Control bounds the inputs, and an input has few: there is always room.
    pub(super) fn local_track(&mut self, name: FullTrackName) -> TrackKey {
        let tenant = self.tenants.enter(TenantName::publishers(&name.namespace));
        self.tenants.change(tenant, Good::Tracks, 0, 1);
        self.tracks.insert(name, tenant)
    }

    fn insert_track(&mut self, tenant: TenantKey, name: FullTrackName, tracks_max: usize) -> Result<TrackKey, Refusal> {
        if !self.tenants.fits(tenant, Good::Tracks, 1, tracks_max) {
            self.tenants.leave(tenant);
            self.counters.tracks_refused += 1;
            return Err(Refusal::TOO_MANY_TRACKS);
        }
        self.tenants.change(tenant, Good::Tracks, 0, 1);
        Ok(self.tracks.insert(name, tenant))
    }

    /// Whose share a new track uses; it is a member from now on.
    fn tenant_for(&mut self, asker: Option<SessionKey>, name: &FullTrackName) -> TenantKey {
        match asker.and_then(|asker| self.sessions.get(asker)) {
            Some(session) => self.tenants.enter_again(session.tenant),
            None => self.tenants.enter(TenantName::audience(&name.namespace)),
        }
    }

    /// Whether what publishers send for a viewer's FETCHes is within the share of its tenant.
    pub(super) fn may_pull(&mut self, viewer: SessionKey) -> bool {
        self.count_pulled(viewer);
        let Some(session) = self.sessions.get(viewer) else { return false };
        self.tenants.fits(session.tenant, Good::Pulled, 0, self.config.pulled_len_max)
    }

    /// Brings the sums of what waits for a tenant's viewers up to date with one of them.
    pub(super) fn count_pulled(&mut self, viewer: SessionKey) {
        let len = self.pulls.len_of_session(viewer);
        let Some(session) = self.sessions.get_mut(viewer) else { return };
        let before = std::mem::replace(&mut session.pulled_counted, len);
        if before != len {
            self.tenants.change(session.tenant, Good::Pulled, before, len);
        }
    }

    /// A session is gone, and with it what it held of all shares.
    pub(super) fn leave_tenant(&mut self, session: &Session) {
        self.tenants.change(session.tenant, Good::Pulled, session.pulled_counted, 0);
        self.tenants.leave(session.tenant);
    }

    // ---- receiving streams ---------------------------------------------------------------------------------------

    /// Brings the sum over all sessions up to date with one of them.
    pub(super) fn count_receiving(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (before, after) = (session.receive.count_again(), session.receive.len());
        if before != after {
            self.tenants.change(session.tenant, Good::Unfinished, before, after);
        }
    }

    /// What is counted for a session moves with it to another tenant.
    pub(super) fn recount_receiving(&mut self, key: SessionKey, from: TenantKey, to: TenantKey) {
        let Some(counted) = self.sessions.get(key).map(|session| session.receive.counted()) else { return };
        self.tenants.change(from, Good::Unfinished, counted, 0);
        self.tenants.change(to, Good::Unfinished, 0, counted);
    }

    /// Whether a stream that needs `len` bytes for its next object goes beyond what its session or its tenant may have.
    pub(super) fn is_overfull(&self, key: SessionKey, len: usize) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        let wanted = session.receive.len().saturating_add(len);
        let more = wanted.saturating_sub(session.receive.counted());
        wanted > self.config.unfinished_session_len_max
            || !self.tenants.fits(session.tenant, Good::Unfinished, more, self.config.unfinished_len_max)
    }
}
