//! The counters of a shard: declared once, in the section of the part that fills them; `/metrics`, the monitor and
//! `docs/counters.md` derive from the declaration.
//!
//! They lie in the workspace `shards`, object `shard.<i>`, one word each.

/// Whether a value only grows or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterKind {
    /// Grows until the engine restarts.
    Total,
    /// Current level.
    Gauge,
}

/// Puts every counter where its index says. One that is out of place, or two of one index, do not compile.
const fn in_index_order<const N: usize>(declared: [Counter; N]) -> [Counter; N] {
    let mut ordered = declared;
    let mut at = 0;
    while at < N {
        ordered[declared[at].index()] = declared[at];
        at += 1;
    }
    ordered
}

macro_rules! counters {
    ($($section:ident, $title:literal, $about:literal {
        $($variant:ident = $index:literal, $name:literal, $kind:ident, $unit:literal, $help:literal;)*
    })*) => {
        /// A part of the engine that counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Section {
            $(#[doc = $about] $section,)*
        }

        impl Section {
            /// Every section, in the order in which people read them.
            pub const ALL: &'static [Section] = &[$(Section::$section),*];

            /// For a heading.
            pub const fn title(self) -> &'static str {
                match self { $(Section::$section => $title,)* }
            }

            /// One sentence for people.
            pub const fn about(self) -> &'static str {
                match self { $(Section::$section => $about,)* }
            }

            /// What it counts.
            pub const fn counters(self) -> &'static [Counter] {
                match self { $(Section::$section => &[$(Counter::$variant),*],)* }
            }
        }

        /// A per-shard counter; its discriminant is the index. A new one takes the next index: none ever changes its meaning,
        /// so that neighbouring builds read each other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[doc = $help] $variant = $index,)*)*
        }

        impl Counter {
            /// Number of counters.
            pub const COUNT: usize = [$($(Counter::$variant,)*)*].len();

            /// Every counter, in index order.
            pub const ALL: &'static [Counter] = &const { in_index_order([$($(Counter::$variant,)*)*]) };

            /// Index in the counters object.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The part that fills it.
            pub const fn section(self) -> Section {
                match self { $($(Counter::$variant => Section::$section,)*)* }
            }

            /// Name in snake case, without prefix or unit.
            pub const fn name(self) -> &'static str {
                match self { $($(Counter::$variant => $name,)*)* }
            }

            /// One sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $($(Counter::$variant => $help,)*)* }
            }

            /// `bytes`, `ns`, or what is counted.
            pub const fn unit(self) -> &'static str {
                match self { $($(Counter::$variant => $unit,)*)* }
            }

            /// Whether it only grows.
            pub const fn kind(self) -> CounterKind {
                match self { $($(Counter::$variant => CounterKind::$kind,)*)* }
            }
        }
    };
}

counters! {
    Datagrams, "Datagrams", "What the packet backend, the receive link and the tosses between shards moved and lost." {
        RxDatagrams = 0, "rx_datagrams", Total, "datagrams", "Datagrams received.";
        RxBytes = 1, "rx_bytes", Total, "bytes", "Bytes received in datagrams.";
        RxDropped = 2, "rx_dropped", Total, "datagrams",
            "Datagrams dropped before a connection: junk, unknown connection id, limits.";
        RxOverrun = 3, "rx_overrun", Total, "frags",
            "Datagrams lost because the shard was slower than its receive link.";
        TxDatagrams = 4, "tx_datagrams", Total, "datagrams", "Datagrams sent.";
        TxBytes = 5, "tx_bytes", Total, "bytes", "Bytes sent in datagrams.";
        TxBlocked = 6, "tx_blocked", Total, "times", "Times the packet backend had no room.";
        TossOut = 7, "toss_out", Total, "datagrams", "Datagrams handed to the shard that owns their connection.";
        TossIn = 8, "toss_in", Total, "datagrams", "Datagrams received from another shard.";
        TossOverrun = 46, "toss_overrun", Total, "frags",
            "Datagrams of other shards lost because this shard was slower than a toss link.";
    }
    Quic, "QUIC", "Connections, from their first packet to their end." {
        ConnectionsAccepted = 9, "connections_accepted", Total, "connections", "QUIC connections accepted.";
        ConnectionsClosed = 10, "connections_closed", Total, "connections", "QUIC connections ended.";
        ConnectionsOpen = 11, "connections_open", Gauge, "connections", "QUIC connections now.";
        HandshakesFailed = 12, "handshakes_failed", Total, "connections",
            "QUIC connections that ended before their handshake.";
        RetriesSent = 13, "retries_sent", Total, "datagrams", "Retry packets sent.";
        TokensRefused = 47, "tokens_refused", Total, "datagrams",
            "Retry tokens that had expired or came from another address.";
        ResetsSent = 14, "resets_sent", Total, "datagrams", "Stateless resets sent.";
        Migrations = 48, "migrations", Total, "paths",
            "Times a connection moved to another address of its peer, which proved to be there.";
    }
    Relay, "Sessions and objects", "The MoQT relay: sessions, what goes through it, and what its cache holds." {
        SessionsOpen = 15, "sessions_open", Gauge, "sessions", "MoQT sessions now.";
        SessionsOpened = 16, "sessions_opened", Total, "sessions", "MoQT sessions that passed their set-up.";
        AuthFailed = 17, "auth_failed", Total, "sessions", "Sessions refused for their token or key.";
        PlaybackTokensRefused = 72, "playback_tokens_refused", Total, "tokens", "Playback tokens that did not hold.";
        SharesRefused = 73, "shares_refused", Total, "requests",
            "Sessions, tracks and namespaces refused because a bound of all, or a tenant's share of it, was reached.";
        SubscriptionsOpen = 18, "subscriptions_open", Gauge, "subscriptions", "Subscriptions now.";
        ObjectsIn = 19, "objects_in", Total, "objects", "Objects taken from ingest or publishers.";
        ObjectBytesIn = 20, "object_bytes_in", Total, "bytes", "Payload bytes of those objects.";
        ObjectsOut = 21, "objects_out", Total, "objects", "Objects handed to viewers' transports.";
        ObjectBytesOut = 22, "object_bytes_out", Total, "bytes", "Payload bytes of those objects.";
        GroupsDropped = 23, "groups_dropped", Total, "groups", "Groups reset for a viewer that was too slow.";
        CacheBytes = 24, "cache_bytes", Gauge, "bytes", "Bytes held in group caches.";
        CacheEvicted = 25, "cache_evicted", Total, "groups", "Groups evicted from caches.";
    }
    Links, "Links between shards", "Media and questions that cross from one shard to another." {
        MediaPublished = 26, "media_published", Total, "messages", "Messages published into the shard's media link.";
        MediaReceived = 27, "media_received", Total, "messages", "Messages taken from other shards' media links.";
        MediaOverrun = 28, "media_overrun", Total, "frags", "Frags of other shards' media links lost by being slow.";
        AskFull = 29, "ask_full", Total, "times", "Times a link to another shard had no credit.";
    }
    Ingest, "Encoders", "Connections of encoders and what came of their media." {
        IngestAccepted = 31, "ingest_accepted", Total, "connections", "Encoders accepted.";
        IngestRefused = 32, "ingest_refused", Total, "connections", "Encoders turned away.";
        IngestOpen = 36, "ingest_open", Gauge, "connections", "Encoder connections now.";
        IngestBytes = 33, "ingest_bytes", Total, "bytes", "Bytes received from encoders.";
        IngestUnits = 34, "ingest_units", Total, "access units", "Access units taken.";
        IngestUnitsDropped = 35, "ingest_units_dropped", Total, "access units",
            "Access units dropped by the normaliser.";
        IngestSrtRateLimited = 82, "ingest_srt_rate_limited", Total, "datagrams",
            "Handshakes of SRT beyond those that are looked at in a second.";
        IngestSrtJunk = 83, "ingest_srt_junk", Total, "datagrams", "Datagrams to the SRT port that are no SRT.";
        HandOvers = 37, "hand_overs", Total, "connections", "Encoder connections handed to their home shard.";
    }
    Edge, "HTTPS edge and WebRTC", "Clients of the shards' HTTPS, and the media that WHIP negotiates there." {
        EdgeOpen = 74, "edge_open", Gauge, "connections", "HTTPS connections now.";
        EdgeTurnedAway = 75, "edge_turned_away", Total, "connections",
            "HTTPS connections closed for newer ones, or for lack of a place.";
        EdgeRequests = 76, "edge_requests", Total, "requests", "HTTPS requests answered.";
        EdgeRefused = 77, "edge_refused", Total, "requests", "HTTPS requests refused.";
        WebrtcOpen = 78, "webrtc_open", Gauge, "sessions", "WebRTC sessions now, connected or not.";
        WebrtcFailed = 79, "webrtc_failed", Total, "sessions", "WebRTC sessions that ended before they were connected.";
        WebrtcDatagrams = 80, "webrtc_datagrams", Total, "datagrams", "Datagrams of WebRTC sessions.";
        WebrtcStrangers = 81, "webrtc_strangers", Total, "datagrams",
            "Datagrams at the WebRTC port that are of no session.";
    }
    Turns, "The shard's time", "Turns, and where a shard's time goes; what is in none of them is spinning." {
        TurnsBusy = 38, "turns_busy", Total, "turns", "Turns that did work.";
        TurnsIdle = 39, "turns_idle", Total, "turns", "Turns that found nothing to do.";
        Sleeps = 40, "sleeps", Total, "times", "Times the shard slept for lack of work.";
        BusyNs = 41, "busy_ns", Total, "ns", "Time spent in turns that did work, without their housekeeping.";
        HousekeepingNs = 49, "housekeeping_ns", Total, "ns", "Time spent in housekeeping; not part of busy_ns.";
        EdgeNs = 50, "edge_ns", Total, "ns", "Time spent in the tasks of encoders' connections between turns.";
        SleepNs = 51, "sleep_ns", Total, "ns", "Time asleep for lack of work.";
    }
    Control, "Control", "Tables, commands and events that the shard shares with the control process." {
        TableReloads = 42, "table_reloads", Total, "times", "Times a table was read again after a change.";
        TableBadEntries = 43, "table_bad_entries", Total, "entries", "Table entries that could not be read.";
        TableBusyEntries = 71, "table_busy_entries", Total, "entries",
            "Table entries whose reading was put off because they were written all the time.";
        CommandsHandled = 44, "commands_handled", Total, "commands", "Commands carried out.";
        CommandsRejected = 45, "commands_rejected", Total, "commands", "Commands that could not be read.";
        EventsFull = 30, "events_full", Total, "events", "Events written over because control was away.";
    }
    Xdp, "AF_XDP", "Rings and packet program of an interface; all 0 over kernel sockets." {
        XdpRedirected = 52, "xdp_redirected", Total, "datagrams",
            "Datagrams that the packet program redirected to the shard.";
        XdpReceived = 53, "xdp_received", Total, "datagrams",
            "Datagrams that the shard took from its AF_XDP receive ring.";
        XdpFillLevel = 54, "xdp_fill_level", Gauge, "frames", "Frames in the AF_XDP fill ring.";
        XdpRxLevel = 55, "xdp_rx_level", Gauge, "frames", "Frames in the AF_XDP receive ring.";
        XdpTxLevel = 56, "xdp_tx_level", Gauge, "frames", "Frames in the AF_XDP transmit ring.";
        XdpCompletionLevel = 57, "xdp_completion_level", Gauge, "frames", "Frames in the AF_XDP completion ring.";
        XdpWakeups = 58, "xdp_wakeups", Total, "times", "System calls that woke the driver.";
        XdpRxDropped = 59, "xdp_rx_dropped", Total, "datagrams",
            "Datagrams that the kernel dropped because an AF_XDP ring was full or empty.";
        XdpNoMetadata = 60, "xdp_no_metadata", Total, "datagrams",
            "Datagrams that came without the packet program's metadata.";
        XdpUnreadable = 61, "xdp_unreadable", Total, "frames",
            "Frames of the AF_XDP receive ring that held no UDP datagram.";
        XdpBusyPoll = 62, "xdp_busy_poll", Gauge, "1 or 0",
            "Whether the shard drives its AF_XDP queue by busy polling; else interrupts do.";
        XdpProgFrames = 63, "xdp_prog_frames", Total, "frames",
            "Frames that the packet program saw on the interface; counted on shard 0.";
        XdpProgPassed = 64, "xdp_prog_passed", Total, "frames",
            "Frames that are none of the engine's, left to the kernel; counted on shard 0.";
        XdpProgNoSocket = 65, "xdp_prog_no_socket", Total, "datagrams",
            "Datagrams left to the kernel because their queue has no shard; counted on shard 0.";
        XdpProgWrongShard = 66, "xdp_prog_wrong_shard", Total, "datagrams",
            "Datagrams redirected to another shard than their owner, which tosses them; counted on shard 0.";
        XdpProgMalformedUdpLength = 67, "xdp_prog_malformed_udp_length", Total, "datagrams",
            "Dropped by the packet program: a UDP length that cannot be; counted on shard 0.";
        XdpProgMalformedTooShort = 68, "xdp_prog_malformed_too_short", Total, "datagrams",
            "Dropped by the packet program: too short for its QUIC header; counted on shard 0.";
        XdpProgMalformedFixedBit = 69, "xdp_prog_malformed_fixed_bit", Total, "datagrams",
            "Dropped by the packet program: no fixed bit, so no QUIC; counted on shard 0.";
        XdpProgMalformedCidLength = 70, "xdp_prog_malformed_cid_length", Total, "datagrams",
            "Dropped by the packet program: a connection id of more than 20 bytes; counted on shard 0.";
    }
}
