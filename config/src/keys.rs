//! The declaration of every key. The comment above a key is its documentation here **and** its comment in the text of
//! `--print-config`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::value::{Io, LogFormat, MetricsAccess, Poll, PowerOfTwo, Profile, Ranged, Seccomp, UdpIo, Value};

/// A section's name and what it is about.
#[derive(Debug, Clone, Copy)]
pub struct SectionInfo {
    /// Its name between the brackets.
    pub name: &'static str,
    /// One or more sentences, a line each.
    pub doc: &'static [&'static str],
}

/// One key as declared.
pub struct KeyInfo {
    /// The section's name.
    pub section: &'static str,
    /// The key's name inside its section.
    pub key: &'static str,
    /// `section.key`.
    pub path: &'static str,
    /// What it does, a line each.
    pub doc: &'static [&'static str],
    /// What is accepted, range included.
    pub expected: fn() -> String,
    /// The current value in `config`.
    pub value: fn(&Config) -> toml::Value,
    /// Puts a TOML value into `config`; false when the type or the range does not fit.
    pub set_toml: fn(&mut Config, &toml::de::DeValue<'_>) -> bool,
    /// Puts an environment variable's text into `config`; false when the type or the range does not fit.
    pub set_text: fn(&mut Config, &str) -> bool,
}

macro_rules! expected {
    ($type:ty) => {
        <$type as Value>::kind()
    };
    ($type:ty, $low:literal, $high:literal) => {
        format!("{} from {} to {}", <$type as Value>::kind(), stringify!($low), stringify!($high))
    };
}

macro_rules! in_range {
    ($type:ty, $value:expr) => {
        true
    };
    ($type:ty, $value:expr, $low:literal, $high:literal) => {
        std::ops::RangeInclusive::<<$type as Ranged>::End>::new($low, $high).contains(&Ranged::number($value))
    };
}

macro_rules! declare {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr $(, $low:literal ..= $high:literal)?; )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section { $( $(#[doc = $doc])* pub $key: $type, )* }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )* }
                }
            }
        )*

        /// The whole configuration.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Config { $( $(#[doc = $section_doc])* pub $section: $Section, )* }

        /// Every section, in the order of the file.
        pub const SECTIONS: &[SectionInfo] =
            &[$( SectionInfo { name: stringify!($section), doc: &[$($section_doc),*] } ),*];

        /// Every key, in the order of the file.
        pub const KEYS: &[KeyInfo] = &[$($(
            KeyInfo {
                section: stringify!($section),
                key: stringify!($key),
                path: concat!(stringify!($section), ".", stringify!($key)),
                doc: &[$($doc),*],
                expected: || expected!($type $(, $low, $high)?),
                value: |config| config.$section.$key.to_toml(),
                set_toml: |config, value| match <$type as Value>::from_toml(value) {
                    Some(value) if in_range!($type, &value $(, $low, $high)?) => {
                        config.$section.$key = value;
                        true
                    }
                    _ => false,
                },
                set_text: |config, text| match <$type as Value>::from_text(text) {
                    Some(value) if in_range!($type, &value $(, $low, $high)?) => {
                        config.$section.$key = value;
                        true
                    }
                    _ => false,
                },
            },
        )*)*];
    };
}

declare! {
    /// Where this installation lives.
    server: Server {
        /// The address that every port binds to and that is printed in URLs.
        host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        /// The data directory: database, certificate, credentials, logs. Empty: the user's XDG data folder + /streams.
        data: PathBuf = PathBuf::new();
        /// "dev": self-signed certificate and plain HTTP on loopback. "production": TLS only.
        profile: Profile = Profile::Dev;
        /// The IP address by which WebRTC encoders reach this machine where a NAT stands in front of `host`. Empty: `host` itself.
        public_address: String = String::new();
    }

    /// One port a service.
    ports: Ports {
        /// UDP: QUIC, with raw MoQT and WebTransport.
        quic: u16 = 4433, 1..=65535;
        /// TCP: RTMP ingest.
        rtmp: u16 = 1935, 1..=65535;
        /// TCP: RTMP ingest in TLS (RTMPS), with the certificate of HTTPS.
        rtmps: u16 = 1936, 1..=65535;
        /// TCP: HTTPS of the shards, with WHIP. 0: the number of `quic`.
        edge: u16 = 0, 0..=65535;
        /// UDP: media of WebRTC encoders, one port a shard: this one, and those that follow.
        webrtc: u16 = 8189, 1..=65000;
        /// UDP: SRT ingest.
        srt: u16 = 9710, 1..=65535;
        /// TCP: REST API, metrics and health over TLS.
        https: u16 = 8443, 1..=65535;
        /// TCP, 127.0.0.1 only and in the dev profile only: the same without TLS, and the player page.
        http_dev: u16 = 8080, 1..=65535;
    }

    /// The shards.
    engine: Engine {
        /// Shards, one thread each. 0: one a core, two at least.
        shards: usize = 0, 0..=64;
        /// Packet backend: "udp" (kernel sockets), "xdp:INTERFACE" (AF_XDP: needs root and a queue a shard, or one queue), or
        /// "auto": AF_XDP with zero copy where the interface of `host` has it, else kernel sockets.
        io: Io = Io::Auto;
        /// How kernel sockets send: "io_uring" (many trains a system call), "plain" (one), or "auto": io_uring where the kernel
        /// and its policies allow it; the log says why where they do not.
        udp_io: UdpIo = UdpIo::Auto;
        /// "adaptive" sleeps when idle; "busy" gives each shard a whole core for the lowest latency.
        poll: Poll = Poll::Adaptive;
        /// AF_XDP: frames a queue that the kernel may receive into, which is the length of the fill ring. Of 2048 bytes each,
        /// like all frames.
        xdp_fill_frames: PowerOfTwo = PowerOfTwo::two_to_the(12), 64..=65536;
        /// AF_XDP: received frames that may wait for a shard, the length of its rx ring.
        xdp_rx_frames: PowerOfTwo = PowerOfTwo::two_to_the(11), 64..=65536;
        /// AF_XDP: frames that may wait to be sent, the length of a shard's tx ring.
        xdp_tx_frames: PowerOfTwo = PowerOfTwo::two_to_the(11), 64..=65536;
        /// AF_XDP: sent frames a queue that may wait to be used again, the length of the completion ring.
        xdp_completion_frames: PowerOfTwo = PowerOfTwo::two_to_the(11), 64..=65536;
        /// AF_XDP: frames that a shard sends from. With fewer than the tx and completion rings hold, a burst waits for them.
        xdp_send_frames: u32 = 4096, 64..=262144;
        /// AF_XDP with poll = "busy": the shard itself drives the interface's queue, not its interrupts (SO_PREFER_BUSY_POLL); a
        /// call that waits would do so for so many microseconds (SO_BUSY_POLL). 0: interrupts.
        xdp_busy_poll_us: u32 = 20, 0..=10000;
        /// AF_XDP with poll = "busy": packets that one such call has the driver handle (SO_BUSY_POLL_BUDGET). Drivers are made
        /// for up to 64 (NAPI_POLL_WEIGHT).
        xdp_busy_poll_budget: u32 = 64, 1..=64;
        /// Connections of viewers and publishers a shard accepts at the same time.
        connections_max: usize = 20000, 1..=1000000;
        /// A connection without any packet for so long is closed. One with an accepted request is kept alive by a PING after a third of it.
        idle_timeout_ms: u64 = 30000, 1000..=600000;
        /// Half-open handshakes a shard; for one more the oldest goes. A proven IPv4 address or IPv6 /56 has an eighth of them.
        handshakes_max: usize = 1000, 1..=100000;
        /// Half-open handshakes a shard from which on a new client has to prove its address first (QUIC Retry, one round trip
        /// more). 0: always.
        retry_half_open_min: usize = 250, 0..=100000;
        /// A drain waits at most so long for sessions to leave.
        drain_timeout_ms: u64 = 2000, 0..=600000;
        /// An engine that is started as root becomes this user once it is set up. Empty: "streams" where there is such a user
        /// who can enter the data directory, else it stays root. It has no capabilities either way.
        user: String = String::new();
        /// A running engine may make the system calls that it needs and no others: "kill" ends it at one, "log" has the kernel
        /// note them, "off" allows all.
        seccomp: Seccomp = Seccomp::Kill;
    }

    /// The relay of each shard.
    relay: Relay {
        /// Interop tests only: any path may publish and subscribe any namespace that does not begin with `stream`.
        /// Refused unless server.host is a loopback address and server.profile is "dev".
        open: bool = false;
        /// A group older than this is reset instead of sent.
        delivery_timeout_ms: u64 = 5000, 100..=60000;
        /// Media kept a track for late joiners, in bytes: old groups go first, then the oldest objects of a group that does not end.
        cache_track_bytes_max: usize = 33554432, 65536..=1073741824;
        /// Media kept a track for late joiners, in time. A group that does not end keeps twice this, and at least a minute.
        cache_track_ms_max: u64 = 10000, 1000..=600000;
        /// Media kept a shard over all tracks, in bytes. The oldest groups of the input with most bytes are the first to go.
        cache_shard_bytes_max: usize = 536870912, 1048576..=68719476736;
        /// Subscriptions and other open requests a session may hold.
        session_requests_max: usize = 128, 1..=10000;
        /// A session without an accepted request for so long is closed.
        request_timeout_ms: u64 = 10000, 100..=600000;
        /// Tracks a shard keeps. One input alone may hold a third of them, all inputs of an org together half.
        tracks_max: usize = 16384, 3..=1000000;
    }

    /// Encoders that push to this machine.
    ingest: Ingest {
        /// Default of a new live input: viewers are kept so long after the encoder is gone, in seconds.
        reconnect_window_s: u32 = 60, 0..=3600;
        /// An encoder that has not sent its stream key so long after connecting is closed.
        handshake_timeout_ms: u64 = 10000, 100..=600000;
        /// An encoder that sends nothing for so long is closed.
        idle_timeout_ms: u64 = 15000, 1000..=600000;
        /// Encoders that publish through a shard at the same time.
        connections_max: usize = 256, 1..=65536;
        /// Connections a shard keeps beside these that have not sent a valid stream key yet. One more, and the oldest of the
        /// address that holds most is closed.
        unpublished_max: usize = 256, 1..=65536;
        /// Of these, connections of one IPv4 address or IPv6 /56. One more, and its own oldest is closed.
        unpublished_address_max: usize = 32, 1..=65536;
        /// The largest single message (one video frame) an encoder may send, in bytes.
        message_bytes_max: usize = 8388608, 65536..=67108864;
        /// SRT: time for lost packets to come again, in milliseconds. An encoder that asks for more gets more; three to four
        /// round trips are good.
        srt_latency_ms: u64 = 120, 20..=8000;
        /// SRT: an encoder that sends nothing for so long is gone; its protocol sends something every second.
        srt_idle_timeout_ms: u64 = 5000, 1000..=600000;
        /// SRT: handshakes of each of the two steps that a shard looks at in a second; twice as many at once.
        srt_handshakes_per_s: u32 = 200, 1..=100000;
    }

    /// HTTPS of the shards.
    edge: Edge {
        /// Connections to one shard at the same time. At that number the oldest of the address that holds most is closed.
        connections_max: usize = 128, 8..=65536;
        /// Connections of one IPv4 address or IPv6 /56 to one shard at the same time.
        connections_address_max: usize = 32, 1..=65536;
        /// The head of a request, and then its body, must be here within so long.
        request_timeout_ms: u64 = 10000, 100..=600000;
        /// A connection without a request for so long is closed.
        idle_timeout_ms: u64 = 30000, 100..=3600000;
        /// ICE servers that WHIP encoders are told, such as "stun:stun.example.org", separated by commas.
        ice_servers: String = String::new();
    }

    /// The REST API.
    api: Api {
        /// Requests a second that one API key may make on average.
        rate_per_s: u32 = 50, 1..=100000;
        /// Requests that one API key may make at once.
        burst: u32 = 200, 1..=100000;
        /// The largest request body, in bytes.
        body_bytes_max: usize = 65536, 1024..=16777216;
        /// Connections to each of its ports at the same time. At that number the one that was idle for longest is closed.
        connections_max: usize = 512, 8..=65536;
        /// Connections of one address (IPv6: of one /64) at the same time. Loopback addresses are not counted.
        connections_address_max: usize = 64, 1..=65536;
        /// The head of a request, and then its body, must be here within so long.
        request_timeout_ms: u64 = 10000, 100..=600000;
        /// An answer must have left within so long: a reader that takes a byte now and then is closed.
        response_timeout_ms: u64 = 120000, 100..=3600000;
        /// A connection on which no byte moves for so long is closed.
        idle_timeout_ms: u64 = 30000, 100..=3600000;
        /// Who may read /metrics: "local" (requests from this machine that no proxy passed on, and API keys with the scope
        /// `metrics:read`), "key" (such keys only), "open" (everybody).
        metrics: MetricsAccess = MetricsAccess::Local;
    }

    /// Logs. Stream keys and tokens never appear in them.
    log: Log {
        /// "error", "warn", "info", "debug", "trace", or a list such as "info,streams_engine=debug".
        level: String = "info".into();
        /// "text" or "json".
        format: LogFormat = LogFormat::Text;
    }
}
