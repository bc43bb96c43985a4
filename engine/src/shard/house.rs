//! What a shard does beside packets: control's tables and commands, events for control, housekeeping, counters.

use std::net::SocketAddr;
use std::time::Duration;

use streams_contract::{CloseCause, Command, Event, Protocol, SessionKind};
use streams_relay_core::relay::{Directory, RelayEvent, Role, SessionId};
use streams_relay_core::wire::SessionError;
use streams_rings::Signal;
use tracing::{info, warn};

use super::clock::nanos;
use super::{Parcel, Shard};
use crate::EngineError;
use crate::broadcast::InputContext;

/// Heartbeat, counters, windows, group ids, control's generation.
pub(super) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(50);
/// How often the keys of MoQT publishers are checked without a change: one may have been rotated away with some grace.
const PUBLISHER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What a session's close code says of the reason; the words that go with it are for people.
fn close_cause(code: SessionError) -> CloseCause {
    use SessionError as E;
    match code {
        E::NoError => CloseCause::Ended,
        E::Unauthorized | E::MalformedAuthToken => CloseCause::Unauthorized,
        E::ExpiredAuthToken => CloseCause::TokenExpired,
        E::InvalidPath | E::MalformedPath | E::InvalidAuthority | E::MalformedAuthority => CloseCause::NotFound,
        E::GoawayTimeout | E::ControlMessageTimeout | E::DataStreamTimeout => CloseCause::TooSlow,
        E::Internal | E::Unknown(_) => CloseCause::Internal,
        E::ProtocolViolation
        | E::InvalidRequestId
        | E::DuplicateTrackAlias
        | E::KeyValueFormatting
        | E::AuthTokenCacheOverflow
        | E::DuplicateAuthTokenAlias
        | E::VersionNegotiationFailed
        | E::UnknownAuthTokenAlias => CloseCause::Violation,
    }
}

impl Shard {
    pub(super) fn relay_event(&mut self, event: RelayEvent) {
        let shard = self.parts.shard;
        match event {
            RelayEvent::NamespaceUp(namespace) => {
                if !self.parts.announced.announce(&namespace) {
                    warn!(
                        shard,
                        "the track directory is full: a namespace is known on this shard only until there is room"
                    );
                }
            }
            RelayEvent::NamespaceDown(namespace) => self.parts.announced.withdraw(&namespace),
            RelayEvent::SessionReady { session, role, resource } => {
                self.sessions_opened += 1;
                info!(shard, session = session.0, ?role, resource, "session open");
                let peer = self.sessions.get(&session).map(SocketAddr::to_string).unwrap_or_default();
                let kind = match role {
                    Role::Playback => SessionKind::Playback,
                    Role::Publish => SessionKind::Publish,
                    Role::Open => SessionKind::Open,
                };
                if self.sessions.contains_key(&session) {
                    self.resources.insert(session, resource.clone());
                }
                self.event(&Event::SessionOpened { session: session.0, shard, kind, resource, peer });
            }
            RelayEvent::SessionClose { session, code, reason } => {
                let cause = close_cause(SessionError::from_u64(code));
                self.auth_failed += u64::from(cause.is_auth());
                // Told here with its reason; the end of its connection is no second event.
                self.sessions.remove(&session);
                self.resources.remove(&session);
                info!(shard, session = session.0, code, reason, "session closed");
                self.event(&Event::SessionClosed { session: session.0, shard, cause, reason });
            }
            RelayEvent::PublishBegan { session, input } => self.publisher_began(session, input),
            RelayEvent::PublishEnded { session, input, lost } => self.publisher_ended(session, input, lost),
            RelayEvent::PublishReady { session, input } => self.publisher_ready(session, &input),
            other => warn!(shard, ?other, "an event that concerns other shards was left over"),
        }
    }

    /// A session that showed an input's key; it must be one that takes MoQT.
    fn publisher_ready(&mut self, session: SessionId, input: &str) {
        let shard = self.parts.shard;
        let kind = self.parts.control.tables().input(input).map(|owner| owner.entry.ingest.clone());
        let Some(kind) = kind.filter(|kind| !kind.takes(&Protocol::Moqt)) else {
            return info!(shard, session = session.0, input, "publish session ready");
        };
        let reason = format!("this live input takes {kind} and not moqt");
        let peer = self.sessions.get(&session).map(SocketAddr::to_string).unwrap_or_default();
        self.parts.inputs.refused(input, self.unix_ms, &reason);
        self.relay.kick(self.now, session, SessionError::Unauthorized.to_u64(), &reason);
        self.ingest.refused += 1;
        self.event(&Event::IngestRefused { input: Some(input.to_owned()), shard, reason, peer });
    }

    fn publisher_began(&mut self, session: SessionId, input: String) {
        let shard = self.parts.shard;
        let peer = self.sessions.get(&session).map(SocketAddr::to_string).unwrap_or_default();
        info!(shard, session = session.0, input, peer, "MoQT session publishes");
        let mut context = InputContext {
            now: self.now,
            unix_ms: self.unix_ms,
            relay: &mut self.relay,
            announced: &mut self.parts.announced,
        };
        self.parts.inputs.session_began(&mut context, self.parts.control.tables(), &input, session);
        self.ask_for_homes();
        self.event(&Event::IngestUp { input, shard, protocol: Protocol::Moqt, peer });
    }

    fn publisher_ended(&mut self, session: SessionId, input: String, lost: bool) {
        let shard = self.parts.shard;
        let reason = if lost { "the connection was lost" } else { "the publisher ended the stream" };
        info!(shard, session = session.0, input, reason, "MoQT session publishes no more");
        self.with_inputs(|inputs, context| inputs.session_ended(context, &input, session, lost));
        self.event(&Event::IngestDown { input, shard, reason: reason.into() });
    }

    /// Asks other shards for inputs that a session here publishes. A full box is asked again by the housekeeping.
    fn ask_for_homes(&mut self) {
        for (home, input) in self.parts.inputs.take_yields_wanted() {
            if let Some(mailbox) = self.parts.mailboxes.get(home) {
                mailbox.post(Parcel::Yield { input });
            }
        }
    }

    /// Tells control of sessions whose peer left.
    pub(super) fn tell_left(&mut self) {
        for session in std::mem::take(&mut self.sessions_left) {
            let shard = self.parts.shard;
            self.resources.remove(&session);
            info!(shard, session = session.0, "session left");
            let (cause, reason) = (CloseCause::PeerLeft, "the peer left".into());
            self.event(&Event::SessionClosed { session: session.0, shard, cause, reason });
        }
    }

    pub(super) fn control(&mut self) -> bool {
        self.apply_table_changes();
        let mut any = false;
        while let Some(command) = self.parts.control.command() {
            any = true;
            self.command(command);
        }
        any
    }

    pub(super) fn apply_table_changes(&mut self) {
        let changes = self.parts.control.refresh();
        if !self.leftovers_removed && self.parts.shard == 0 && self.parts.control.tables_complete() {
            self.leftovers_removed = true;
            self.parts.inputs.forget_unknown(self.parts.control.tables());
        }
        for kid in &changes.keys_off {
            self.relay.revoke_key(self.now, kid);
        }
        for id in &changes.resources_off {
            self.relay.resource_disabled(self.now, id);
        }
        if !changes.inputs.is_empty() {
            self.recheck_publishers();
            let mut context = InputContext {
                now: self.now,
                unix_ms: self.unix_ms,
                relay: &mut self.relay,
                announced: &mut self.parts.announced,
            };
            self.parts.inputs.entries_changed(&mut context, self.parts.control.tables(), &changes.inputs);
        }
    }

    /// Closes a session, unless it is about a resource of another organisation than that of the operator who asks.
    fn kick(&mut self, session: SessionId, asks: Option<&str>) {
        let resource = self.resources.get(&session).and_then(|id| self.parts.control.tables().resource(id));
        if let (Some(asks), Some(owner)) = (asks, resource.map(|resource| resource.org))
            && asks != owner
        {
            return info!(session = session.0, asks, owner, "a session of another organisation is not closed");
        }
        // 0x0: NO_ERROR, for the operator did not say that the session was wrong.
        self.relay.kick(self.now, session, 0, "closed by the operator");
    }

    fn recheck_publishers(&mut self) {
        self.publishers_checked = self.now;
        self.relay.recheck_publishers(self.now, self.unix_ms, self.parts.control.tables());
    }

    fn command(&mut self, command: Command) {
        let shard = self.parts.shard;
        match command {
            Command::DisconnectInput { input, reason } => {
                self.parts.inputs.disconnect(&input, &reason);
                self.relay.disconnect_publishers(self.now, &input, &reason);
            }
            Command::RevokeKey { kid } => self.relay.revoke_key(self.now, &kid),
            Command::KickSession { session, org } => self.kick(SessionId(session), org.as_deref()),
            Command::ReloadCertificate => {
                self.edge.certificate_reloads += 1;
                match self.parts.endpoint.reload_certificate(&self.parts.tls) {
                    Ok(()) => info!(shard, "certificate reloaded"),
                    Err(error) => warn!(shard, %error, "the certificate was not reloaded; the old one stays"),
                }
            }
            Command::Drain { deadline_ms } => {
                let left = Duration::from_millis(deadline_ms.saturating_sub(self.unix_ms));
                self.drain(left);
            }
            other => warn!(shard, ?other, "a command of a newer control process is not known here"),
        }
    }

    pub(super) fn housekeeping(&mut self) -> bool {
        if self.now < self.housekeeping_due {
            return false;
        }
        self.housekeeping_due = self.now + self.housekeeping_interval;
        if let Err(error) = self.parts.backend.check() {
            let shard = self.parts.shard;
            self.failure = Some(EngineError::Host { shard, detail: format!("the way to the wire is lost: {error}") });
            return false;
        }
        if self.parts.control.follow() {
            info!(shard = self.parts.shard, "control started anew; its tables are read again");
        }
        let mut context = InputContext {
            now: self.now,
            unix_ms: self.unix_ms,
            relay: &mut self.relay,
            announced: &mut self.parts.announced,
        };
        self.parts.inputs.tick(&mut context, self.parts.control.tables());
        self.ask_for_homes();
        if self.now.duration_since(self.publishers_checked) >= PUBLISHER_CHECK_INTERVAL {
            self.recheck_publishers();
        }
        self.tune();
        self.parts.control.beat(if self.stopping.is_some() { Signal::Halt } else { Signal::Run });
        self.count();
        // It comes first in a turn, so one look at the clock tells how long it took.
        self.turn_worked = self.now.elapsed();
        self.housekeeping_ns += nanos(self.turn_worked);
        false
    }
}
