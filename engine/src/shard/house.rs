//! What a shard does beside packets: control's tables and commands, events for control, housekeeping, counters.

use std::net::SocketAddr;
use std::time::Duration;

use streams_relay_core::relay::{Directory, RelayEvent, Role, SessionId};
use streams_rings::Signal;
use streams_rings::schema::{Command, Counter, Event};
use tracing::{info, warn};

use super::{InputContext, Shard, nanos};
use crate::EngineError;

/// Heartbeat, counters, windows, group ids, control's generation.
pub(super) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(50);
/// How often the keys of MoQT publishers are checked without a change: one may have been rotated away with some grace.
const PUBLISHER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

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
                    Role::Playback => "playback",
                    Role::Publish => "publish",
                    Role::Open => "open",
                };
                if self.sessions.contains_key(&session) {
                    self.resources.insert(session, resource.clone());
                }
                self.event(&Event::SessionOpened { session: session.0, shard, kind: kind.into(), resource, peer });
            }
            RelayEvent::SessionClose { session, code, reason } => {
                self.auth_failed += u64::from(reason.starts_with("auth_failed"));
                // Told here with its reason; the end of its connection is no second event.
                self.sessions.remove(&session);
                self.resources.remove(&session);
                info!(shard, session = session.0, code, reason, "session closed");
                self.event(&Event::SessionClosed { session: session.0, shard, reason });
            }
            RelayEvent::PublishReady { session, input } => {
                info!(shard, session = session.0, input, "publish session ready")
            }
            other => warn!(shard, ?other, "an event that concerns other shards was left over"),
        }
    }

    /// Tells control of sessions whose peer left.
    pub(super) fn tell_left(&mut self) {
        for session in std::mem::take(&mut self.sessions_left) {
            let shard = self.parts.shard;
            self.resources.remove(&session);
            info!(shard, session = session.0, "session left");
            self.event(&Event::SessionClosed { session: session.0, shard, reason: "the peer left".into() });
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
            Command::ReloadCertificate => match self.parts.endpoint.reload_certificate(&self.parts.tls) {
                Ok(()) => info!(shard, "certificate reloaded"),
                Err(error) => warn!(shard, %error, "the certificate was not reloaded; the old one stays"),
            },
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

    fn count(&mut self) {
        let levels = self.parts.backend.levels();
        let (quic, links, control) =
            (self.parts.endpoint.stats(), self.parts.links.stats(), self.parts.control.stats());
        let (rx, toss, relay) = (self.parts.rx.stats(), self.parts.tosses.stats(), self.relay.counters());
        self.parts.rx.tell_lost();
        self.parts.links.tell_lost();
        self.parts.tosses.tell_lost();
        let open = self.parts.endpoint.connections() as u64;
        self.parts.control.count(&[
            // What was tossed was received by the shard that it came to.
            (Counter::RxDatagrams, quic.datagrams_in.saturating_sub(toss.caught)),
            (Counter::RxBytes, quic.bytes_in.saturating_sub(toss.caught_len)),
            (Counter::RxDropped, quic.junk + quic.refused),
            (Counter::RxOverrun, rx.lost_frags),
            (Counter::TxDatagrams, quic.packets_out),
            (Counter::TxBytes, quic.bytes_out),
            (Counter::TossOut, toss.tossed),
            (Counter::TossIn, toss.caught),
            (Counter::TossOverrun, toss.overrun),
            (Counter::RetriesSent, quic.retries),
            (Counter::TokensRefused, quic.tokens_refused),
            (Counter::Migrations, quic.migrations),
            (Counter::ConnectionsAccepted, quic.accepted),
            (Counter::ConnectionsClosed, quic.accepted.saturating_sub(open)),
            (Counter::ConnectionsOpen, open),
            (Counter::ResetsSent, quic.resets),
            (Counter::SessionsOpen, self.sessions.len() as u64),
            (Counter::SubscriptionsOpen, self.relay.subscriptions_open() as u64),
            (Counter::ObjectsIn, relay.objects_in),
            (Counter::ObjectBytesIn, relay.object_bytes_in),
            (Counter::ObjectsOut, relay.objects_out),
            (Counter::ObjectBytesOut, relay.object_bytes_out),
            (Counter::GroupsDropped, relay.groups_dropped),
            (Counter::CacheBytes, self.relay.cache_len() as u64),
            (Counter::CacheEvicted, relay.groups_evicted),
            (Counter::TxBlocked, quic.blocked),
            (Counter::HandshakesFailed, quic.handshakes_failed),
            (Counter::Sleeps, self.sleeps),
            (Counter::SessionsOpened, self.sessions_opened),
            (Counter::AuthFailed, self.auth_failed),
            (Counter::MediaPublished, links.media_published),
            (Counter::MediaReceived, links.media_received),
            (Counter::MediaOverrun, links.media_overrun),
            (Counter::AskFull, links.ask_full),
            (Counter::EventsFull, control.events_full),
            (Counter::IngestAccepted, self.ingest.accepted),
            (Counter::IngestRefused, self.ingest.refused),
            (Counter::IngestBytes, self.ingest.bytes),
            (Counter::IngestUnits, self.ingest.units),
            (Counter::IngestUnitsDropped, self.parts.inputs.units_dropped()),
            (Counter::IngestOpen, self.ingest.open),
            (Counter::HandOvers, self.ingest.hand_overs),
            (Counter::TurnsBusy, self.turns_busy),
            (Counter::TurnsIdle, self.turns_idle),
            (Counter::BusyNs, self.busy_ns),
            (Counter::HousekeepingNs, self.housekeeping_ns),
            (Counter::EdgeNs, self.edge_ns),
            (Counter::SleepNs, self.sleep_ns),
            (Counter::XdpRedirected, levels.redirected),
            (Counter::XdpReceived, levels.received),
            (Counter::XdpFillLevel, levels.fill.into()),
            (Counter::XdpRxLevel, levels.rx.into()),
            (Counter::XdpTxLevel, levels.tx.into()),
            (Counter::XdpCompletionLevel, levels.completion.into()),
            (Counter::XdpWakeups, levels.wakeups),
            (Counter::XdpRxDropped, levels.dropped),
            (Counter::XdpNoMetadata, levels.no_metadata),
            (Counter::XdpUnreadable, levels.unreadable),
            (Counter::XdpBusyPoll, levels.busy_poll.into()),
            (Counter::XdpProgFrames, levels.program.frames),
            (Counter::XdpProgPassed, levels.program.passed),
            (Counter::XdpProgNoSocket, levels.program.no_socket),
            (Counter::XdpProgWrongShard, levels.program.wrong_shard),
            (Counter::XdpProgMalformedUdpLength, levels.program.malformed_udp_length),
            (Counter::XdpProgMalformedTooShort, levels.program.malformed_too_short),
            (Counter::XdpProgMalformedFixedBit, levels.program.malformed_fixed_bit),
            (Counter::XdpProgMalformedCidLength, levels.program.malformed_cid_length),
            (Counter::TableReloads, control.tables.reloads),
            (Counter::TableBadEntries, control.tables.bad_entries),
            (Counter::TableBusyEntries, control.tables.busy_entries + self.parts.announced.busy_entries()),
            (Counter::PlaybackTokensRefused, relay.tokens_refused),
            (Counter::SharesRefused, relay.sessions_refused + relay.tracks_refused + relay.namespaces_refused),
            (Counter::CommandsHandled, control.commands_handled),
            (Counter::CommandsRejected, control.commands_rejected),
        ]);
    }
}
