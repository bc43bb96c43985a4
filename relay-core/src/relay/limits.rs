//! Bounds and timings of one shard's relay.

use std::time::Duration;

/// Configuration of a [`super::Relay`]. Every bound is per shard unless it says otherwise.
///
/// Where each tenant has its share, what all hold, what the org holds and what its input (or the input's viewers) hold must
/// together stay within the bound: one input alone may take a third, and however many have taken their share, another one
/// finds room. Sessions without a token or key, and all of open mode, count for their peer's address (IPv6: its /56), which
/// alone may take half.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Any path may publish and subscribe any namespace except those whose first field is `stream`.
    pub open: bool,
    /// Sessions in all; further ones are closed with EXCESSIVE_LOAD.
    pub sessions_max: usize,
    /// Requests (request streams open at once) a session.
    pub requests_max: usize,
    /// Request ids of a session that are remembered because smaller ones were not seen yet; beyond it the oldest holes count
    /// as seen. A session may make any number of requests in its life.
    pub request_ids_ahead_max: usize,
    /// Receiving streams a session may have open at once (data and request streams).
    pub streams_max: usize,
    /// Bytes held a session while incomplete: streams before SETUP, control messages not whole yet.
    pub receive_buffer_len_max: usize,
    /// Bytes of control and request messages waiting for the peer to read them; more closes the session.
    pub send_buffer_len_max: usize,
    /// Memory a session for objects that are not whole yet; a stream beyond it is stopped with EXCESSIVE_LOAD.
    pub unfinished_session_len_max: usize,
    /// The same for all sessions, each tenant its share (see below).
    pub unfinished_len_max: usize,
    /// Bytes on their way from publishers to one viewer's FETCHes that the viewer has not read yet; the FETCH that goes
    /// beyond it is reset with EXCESSIVE_LOAD.
    pub pulled_session_len_max: usize,
    /// The same for all viewers, each tenant its share.
    pub pulled_len_max: usize,
    /// One object from a publisher; a larger one closes that session.
    pub object_len_max: usize,
    /// Encoded Track Properties of a publisher's track; a track with more is refused.
    pub track_properties_len_max: usize,
    /// Tracks a shard keeps, each tenant its share.
    pub tracks_max: usize,
    /// Tracks without a publisher that one session may wait for at once.
    pub waiting_session_max: usize,
    /// The same for all viewers of a resource (in open mode: sessions of a peer).
    pub waiting_tenant_max: usize,
    /// Sessions that may publish one input at once; further ones are closed.
    pub publishers_per_input_max: usize,
    /// Namespaces that sessions announce, each tenant its share.
    pub namespaces_max: usize,
    /// Namespaces a session may announce, and prefixes it may watch.
    pub namespaces_per_session_max: usize,
    /// Tracks of one input (in open mode: of one namespace) that publishers may offer by PUBLISH at once.
    pub offers_per_namespace_max: usize,
    /// Namespaces shown in answer to one SUBSCRIBE_NAMESPACE.
    pub namespaces_shown_max: usize,
    /// Cached bytes a track. Old groups go first, then the oldest objects; the newest object stays whatever its size.
    pub cache_track_len_max: usize,
    /// Cached bytes in all; oldest groups of the tenant with most bytes go first, those of its largest track.
    pub cache_len_max: usize,
    /// Groups that got nothing new for this long are dropped, but for the newest one and the newest complete one. Of an open
    /// group, objects go after twice this time, and not before a minute.
    pub cache_age_max: Duration,
    /// How long an object may wait for a slow subscriber before its stream is reset (MoQT-18 §7.3).
    pub delivery_timeout: Duration,
    /// No accepted request for this long after the session opened: closed.
    pub first_request_timeout: Duration,
    /// How long an upstream publisher may take to answer a request.
    pub upstream_timeout: Duration,
    /// The longest a SUBSCRIBE for a missing track is held (RENDEZVOUS_TIMEOUT, MoQT-18 §10.2).
    pub rendezvous_timeout_max: Duration,
    /// A track without subscribers keeps its upstream subscription for this long.
    pub linger: Duration,
}

/// The part of [`RelayConfig`] that may change while the relay runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayTuning {
    /// As [`RelayConfig::sessions_max`]; sessions that are open stay.
    pub sessions_max: usize,
    /// As [`RelayConfig::cache_len_max`]; kept at once.
    pub cache_len_max: usize,
    /// As [`RelayConfig::delivery_timeout`]; from the next look at a subscription on.
    pub delivery_timeout: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            open: false,
            sessions_max: 65_536,
            requests_max: 256,
            request_ids_ahead_max: 512,
            // Four tracks of a publisher with a stream a group, and room for streams that arrive out of order.
            streams_max: 1_024,
            // A large key frame may overtake the SUBSCRIBE_OK that names its track.
            receive_buffer_len_max: 1024 * 1024,
            send_buffer_len_max: 1024 * 1024,
            // Four of the largest objects at once.
            unfinished_session_len_max: 32 * 1024 * 1024,
            unfinished_len_max: 256 * 1024 * 1024,
            pulled_session_len_max: 32 * 1024 * 1024,
            pulled_len_max: 256 * 1024 * 1024,
            object_len_max: 8 * 1024 * 1024,
            // Leaves room for the longest track name in every message that carries both.
            track_properties_len_max: 16 * 1024,
            tracks_max: 8_192,
            // Catalogs, renditions and inits of one input.
            waiting_session_max: 32,
            waiting_tenant_max: 64,
            // A session a rendition, and those of a connection that broke and has not timed out yet.
            publishers_per_input_max: 16,
            namespaces_max: 4_096,
            namespaces_per_session_max: 64,
            // Renditions, audio languages, catalogs and init tracks of one input, several times over.
            offers_per_namespace_max: 64,
            namespaces_shown_max: 1_024,
            // About 15 s of 16 Mbit/s video.
            cache_track_len_max: 32 * 1024 * 1024,
            cache_len_max: 512 * 1024 * 1024,
            cache_age_max: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(3),
            first_request_timeout: Duration::from_secs(10),
            upstream_timeout: Duration::from_secs(5),
            rendezvous_timeout_max: Duration::from_secs(30),
            linger: Duration::from_secs(5),
        }
    }
}
