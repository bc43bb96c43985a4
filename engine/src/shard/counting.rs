//! What a shard tells of itself: each part fills the section of counters that it declares in `streams-contract`.

use streams_contract::{Counter, Section};

use super::Shard;
use crate::backend::BackendLevels;

/// Values of one section, each counter of it once.
pub(super) type Values<const N: usize> = [(Counter, u64); N];

impl Shard {
    /// Publishes all sections.
    pub(super) fn count(&mut self) {
        self.parts.rx.tell_lost();
        self.parts.links.tell_lost();
        self.parts.tosses.tell_lost();
        let levels = self.parts.backend.levels();
        let control = &self.parts.control;
        control.count(Section::Datagrams, &self.datagrams());
        control.count(Section::Quic, &self.quic());
        control.count(Section::Relay, &self.relayed());
        control.count(Section::Links, &self.links());
        control.count(Section::Ingest, &self.ingested());
        control.count(Section::Edge, &self.edged());
        control.count(Section::Turns, &self.turns());
        control.count(Section::Control, &self.controlled());
        control.count(Section::Xdp, &xdp(&levels));
    }

    fn datagrams(&self) -> Values<10> {
        let (quic, rx, toss) = (self.parts.endpoint.stats(), self.parts.rx.stats(), self.parts.tosses.stats());
        [
            // What was tossed was received by the shard that it came to.
            (Counter::RxDatagrams, quic.datagrams_in.saturating_sub(toss.caught)),
            (Counter::RxBytes, quic.bytes_in.saturating_sub(toss.caught_len)),
            (Counter::RxDropped, quic.junk + quic.refused),
            (Counter::RxOverrun, rx.lost_frags),
            (Counter::TxDatagrams, quic.packets_out),
            (Counter::TxBytes, quic.bytes_out),
            (Counter::TxBlocked, quic.blocked),
            (Counter::TossOut, toss.tossed),
            (Counter::TossIn, toss.caught),
            (Counter::TossOverrun, toss.overrun),
        ]
    }

    fn quic(&self) -> Values<8> {
        let (quic, open) = (self.parts.endpoint.stats(), self.parts.endpoint.connections() as u64);
        [
            (Counter::ConnectionsAccepted, quic.accepted),
            (Counter::ConnectionsClosed, quic.accepted.saturating_sub(open)),
            (Counter::ConnectionsOpen, open),
            (Counter::HandshakesFailed, quic.handshakes_failed),
            (Counter::RetriesSent, quic.retries),
            (Counter::TokensRefused, quic.tokens_refused),
            (Counter::ResetsSent, quic.resets),
            (Counter::Migrations, quic.migrations),
        ]
    }

    fn relayed(&self) -> Values<13> {
        let relay = self.relay.counters();
        [
            (Counter::SessionsOpen, self.sessions.len() as u64),
            (Counter::SessionsOpened, self.sessions_opened),
            (Counter::AuthFailed, self.auth_failed),
            (Counter::PlaybackTokensRefused, relay.tokens_refused),
            (Counter::SharesRefused, relay.sessions_refused + relay.tracks_refused + relay.namespaces_refused),
            (Counter::SubscriptionsOpen, self.relay.subscriptions_open() as u64),
            (Counter::ObjectsIn, relay.objects_in),
            (Counter::ObjectBytesIn, relay.object_bytes_in),
            (Counter::ObjectsOut, relay.objects_out),
            (Counter::ObjectBytesOut, relay.object_bytes_out),
            (Counter::GroupsDropped, relay.groups_dropped),
            (Counter::CacheBytes, self.relay.cache_len() as u64),
            (Counter::CacheEvicted, relay.groups_evicted),
        ]
    }

    fn links(&self) -> Values<4> {
        let links = self.parts.links.stats();
        [
            (Counter::MediaPublished, links.media_published),
            (Counter::MediaReceived, links.media_received),
            (Counter::MediaOverrun, links.media_overrun),
            (Counter::AskFull, links.ask_full),
        ]
    }

    fn ingested(&self) -> Values<9> {
        [
            (Counter::IngestAccepted, self.ingest.accepted),
            (Counter::IngestRefused, self.ingest.refused),
            (Counter::IngestOpen, self.ingest.open),
            (Counter::IngestBytes, self.ingest.bytes),
            (Counter::IngestUnits, self.ingest.units),
            (Counter::IngestUnitsDropped, self.parts.inputs.units_dropped()),
            (Counter::IngestSrtRateLimited, self.ingest.srt_rate_limited),
            (Counter::IngestSrtJunk, self.ingest.srt_junk),
            (Counter::HandOvers, self.ingest.hand_overs),
        ]
    }

    fn edged(&self) -> Values<8> {
        let stats = &self.edge.stats;
        [
            (Counter::EdgeOpen, stats.open),
            (Counter::EdgeTurnedAway, stats.turned_away),
            (Counter::EdgeRequests, stats.requests),
            (Counter::EdgeRefused, stats.refused),
            (Counter::WebrtcOpen, stats.webrtc_open),
            (Counter::WebrtcFailed, stats.webrtc_failed),
            (Counter::WebrtcDatagrams, stats.webrtc_datagrams),
            (Counter::WebrtcStrangers, stats.webrtc_strangers),
        ]
    }

    fn turns(&self) -> Values<7> {
        [
            (Counter::TurnsBusy, self.turns_busy),
            (Counter::TurnsIdle, self.turns_idle),
            (Counter::Sleeps, self.sleeps),
            (Counter::BusyNs, self.busy_ns),
            (Counter::HousekeepingNs, self.housekeeping_ns),
            (Counter::EdgeNs, self.edge_ns),
            (Counter::SleepNs, self.sleep_ns),
        ]
    }

    fn controlled(&self) -> Values<6> {
        let control = self.parts.control.stats();
        [
            (Counter::TableReloads, control.tables.reloads),
            (Counter::TableBadEntries, control.tables.bad_entries),
            (Counter::TableBusyEntries, control.tables.busy_entries + self.parts.announced.busy_entries()),
            (Counter::CommandsHandled, control.commands_handled),
            (Counter::CommandsRejected, control.commands_rejected),
            (Counter::EventsFull, control.events_full),
        ]
    }
}

fn xdp(levels: &BackendLevels) -> Values<19> {
    let program = &levels.program;
    [
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
        (Counter::XdpProgFrames, program.frames),
        (Counter::XdpProgPassed, program.passed),
        (Counter::XdpProgNoSocket, program.no_socket),
        (Counter::XdpProgWrongShard, program.wrong_shard),
        (Counter::XdpProgMalformedUdpLength, program.malformed_udp_length),
        (Counter::XdpProgMalformedTooShort, program.malformed_too_short),
        (Counter::XdpProgMalformedFixedBit, program.malformed_fixed_bit),
        (Counter::XdpProgMalformedCidLength, program.malformed_cid_length),
    ]
}
