//! Indices of the per-shard counters, workspace `shards`, object `shard.<i>`.

/// Whether a value only grows or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterKind {
    /// Grows until the engine restarts.
    Total,
    /// Current level.
    Gauge,
}

macro_rules! counters {
    ($($variant:ident, $name:literal, $kind:ident, $unit:literal, $help:literal;)*) => {
        /// A per-shard counter; its discriminant is the index. Append only: an index never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter {
            $(#[doc = $help] $variant,)*
        }

        impl Counter {
            /// Every counter, in index order.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),*];

            /// Number of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// Index in the counters object.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Name in snake case, without prefix or unit.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }

            /// One sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $(Counter::$variant => $help,)* }
            }

            /// `bytes`, `ns`, or what is counted.
            pub const fn unit(self) -> &'static str {
                match self { $(Counter::$variant => $unit,)* }
            }

            /// Whether it only grows.
            pub const fn kind(self) -> CounterKind {
                match self { $(Counter::$variant => CounterKind::$kind,)* }
            }
        }
    };
}

counters! {
    RxDatagrams, "rx_datagrams", Total, "datagrams", "Datagrams received.";
    RxBytes, "rx_bytes", Total, "bytes", "Bytes received in datagrams.";
    RxDropped, "rx_dropped", Total, "datagrams", "Datagrams dropped before a connection: junk, unknown connection id, limits.";
    RxOverrun, "rx_overrun", Total, "frags", "Datagrams lost because the shard was slower than its receive link.";
    TxDatagrams, "tx_datagrams", Total, "datagrams", "Datagrams sent.";
    TxBytes, "tx_bytes", Total, "bytes", "Bytes sent in datagrams.";
    TxBlocked, "tx_blocked", Total, "times", "Times the packet backend had no room.";
    TossOut, "toss_out", Total, "datagrams", "Datagrams handed to the shard that owns their connection.";
    TossIn, "toss_in", Total, "datagrams", "Datagrams received from another shard.";
    ConnectionsAccepted, "connections_accepted", Total, "connections", "QUIC connections accepted.";
    ConnectionsClosed, "connections_closed", Total, "connections", "QUIC connections ended.";
    ConnectionsOpen, "connections_open", Gauge, "connections", "QUIC connections now.";
    HandshakesFailed, "handshakes_failed", Total, "connections", "QUIC connections that ended before their handshake.";
    RetriesSent, "retries_sent", Total, "datagrams", "Retry packets sent.";
    ResetsSent, "resets_sent", Total, "datagrams", "Stateless resets sent.";
    SessionsOpen, "sessions_open", Gauge, "sessions", "MoQT sessions now.";
    SessionsOpened, "sessions_opened", Total, "sessions", "MoQT sessions that passed their set-up.";
    AuthFailed, "auth_failed", Total, "sessions", "Sessions refused for their token or key.";
    SubscriptionsOpen, "subscriptions_open", Gauge, "subscriptions", "Subscriptions now.";
    ObjectsIn, "objects_in", Total, "objects", "Objects taken from ingest or publishers.";
    ObjectBytesIn, "object_bytes_in", Total, "bytes", "Payload bytes of those objects.";
    ObjectsOut, "objects_out", Total, "objects", "Objects handed to viewers' transports.";
    ObjectBytesOut, "object_bytes_out", Total, "bytes", "Payload bytes of those objects.";
    GroupsDropped, "groups_dropped", Total, "groups", "Groups reset for a viewer that was too slow.";
    CacheBytes, "cache_bytes", Gauge, "bytes", "Bytes held in group caches.";
    CacheEvicted, "cache_evicted", Total, "groups", "Groups evicted from caches.";
    MediaPublished, "media_published", Total, "messages", "Messages published into the shard's media link.";
    MediaReceived, "media_received", Total, "messages", "Messages taken from other shards' media links.";
    MediaOverrun, "media_overrun", Total, "frags", "Frags of other shards' media links lost by being slow.";
    AskFull, "ask_full", Total, "times", "Times a link to another shard had no credit.";
    EventsFull, "events_full", Total, "events", "Events written over because control was away.";
    IngestAccepted, "ingest_accepted", Total, "connections", "Encoders accepted.";
    IngestRefused, "ingest_refused", Total, "connections", "Encoders turned away.";
    IngestBytes, "ingest_bytes", Total, "bytes", "Bytes received from encoders.";
    IngestUnits, "ingest_units", Total, "access units", "Access units taken.";
    IngestUnitsDropped, "ingest_units_dropped", Total, "access units", "Access units dropped by the normaliser.";
    IngestOpen, "ingest_open", Gauge, "connections", "Encoder connections now.";
    HandOvers, "hand_overs", Total, "connections", "Encoder connections handed to their home shard.";
    TurnsBusy, "turns_busy", Total, "turns", "Turns that did work.";
    TurnsIdle, "turns_idle", Total, "turns", "Turns that found nothing to do.";
    Sleeps, "sleeps", Total, "times", "Times the shard slept for lack of work.";
    BusyNs, "busy_ns", Total, "ns", "Time spent in turns that did work, without their housekeeping.";
    TableReloads, "table_reloads", Total, "times", "Times a table was read again after a change.";
    TableBadEntries, "table_bad_entries", Total, "entries", "Table entries that could not be read.";
    CommandsHandled, "commands_handled", Total, "commands", "Commands carried out.";
    CommandsRejected, "commands_rejected", Total, "commands", "Commands that could not be read.";
    TossOverrun, "toss_overrun", Total, "frags", "Datagrams of other shards lost because this shard was slower than a toss link.";
    TokensRefused, "tokens_refused", Total, "datagrams", "Retry tokens that had expired or came from another address.";
    Migrations, "migrations", Total, "paths", "Times a connection moved to another address of its peer, which proved to be there.";
    HousekeepingNs, "housekeeping_ns", Total, "ns", "Time spent in housekeeping; not part of busy_ns.";
    EdgeNs, "edge_ns", Total, "ns", "Time spent in the tasks of encoders' connections between turns.";
    SleepNs, "sleep_ns", Total, "ns", "Time asleep for lack of work.";
    XdpRedirected, "xdp_redirected", Total, "datagrams", "Datagrams that the packet program redirected to the shard.";
    XdpReceived, "xdp_received", Total, "datagrams", "Datagrams that the shard took from its AF_XDP receive ring.";
    XdpFillLevel, "xdp_fill_level", Gauge, "frames", "Frames in the AF_XDP fill ring.";
    XdpRxLevel, "xdp_rx_level", Gauge, "frames", "Frames in the AF_XDP receive ring.";
    XdpTxLevel, "xdp_tx_level", Gauge, "frames", "Frames in the AF_XDP transmit ring.";
    XdpCompletionLevel, "xdp_completion_level", Gauge, "frames", "Frames in the AF_XDP completion ring.";
    XdpWakeups, "xdp_wakeups", Total, "times", "System calls that woke the driver.";
    XdpRxDropped, "xdp_rx_dropped", Total, "datagrams", "Datagrams that the kernel dropped because an AF_XDP ring was full or empty.";
    XdpNoMetadata, "xdp_no_metadata", Total, "datagrams", "Datagrams that came without the packet program's metadata.";
    XdpUnreadable, "xdp_unreadable", Total, "frames", "Frames of the AF_XDP receive ring that held no UDP datagram.";
    XdpBusyPoll, "xdp_busy_poll", Gauge, "1 or 0", "Whether the shard drives its AF_XDP queue by busy polling; else interrupts do.";
    XdpProgFrames, "xdp_prog_frames", Total, "frames", "Frames that the packet program saw on the interface; counted on shard 0.";
    XdpProgPassed, "xdp_prog_passed", Total, "frames", "Frames that are none of the engine's, left to the kernel; counted on shard 0.";
    XdpProgNoSocket, "xdp_prog_no_socket", Total, "datagrams", "Datagrams left to the kernel because their queue has no shard; counted on shard 0.";
    XdpProgWrongShard, "xdp_prog_wrong_shard", Total, "datagrams", "Datagrams redirected to another shard than their owner, which tosses them; counted on shard 0.";
    XdpProgMalformedUdpLength, "xdp_prog_malformed_udp_length", Total, "datagrams", "Dropped by the packet program: a UDP length that cannot be; counted on shard 0.";
    XdpProgMalformedTooShort, "xdp_prog_malformed_too_short", Total, "datagrams", "Dropped by the packet program: too short for its QUIC header; counted on shard 0.";
    XdpProgMalformedFixedBit, "xdp_prog_malformed_fixed_bit", Total, "datagrams", "Dropped by the packet program: no fixed bit, so no QUIC; counted on shard 0.";
    XdpProgMalformedCidLength, "xdp_prog_malformed_cid_length", Total, "datagrams", "Dropped by the packet program: a connection id of more than 20 bytes; counted on shard 0.";
    TableBusyEntries, "table_busy_entries", Total, "entries", "Table entries whose reading was put off because they were written all the time.";
    PlaybackTokensRefused, "playback_tokens_refused", Total, "tokens", "Playback tokens that did not hold.";
    SharesRefused, "shares_refused", Total, "requests", "Sessions, tracks and namespaces refused because a bound of all, or a tenant's share of it, was reached.";
}
