//! QUIC transport settings and TLS material of a shard.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::EngineError;

/// MoQT drafts on raw QUIC first, then HTTP/3 for WebTransport. quiche picks the first of the *client's* list that is here.
pub(crate) const ALPN: &[&[u8]] = &[b"moqt-18", b"h3"];

/// Largest UDP payload that fits an Ethernet frame of 1,500 bytes over IPv4, and so the largest one that is ever sent.
pub const SEND_PAYLOAD_LEN_MAX: usize = 1472;
/// What every path takes (RFC 9000 §14).
pub(super) const SEND_PAYLOAD_LEN_MIN: usize = 1200;
/// The largest one over IPv6.
const SEND_PAYLOAD_LEN_MAX_V6: usize = 1452;
/// What one connection may have in flight towards us, at first and for ever when it only reads. quiche keeps some 145 bytes for
/// every second one of it, see [`super::intake`].
pub(super) const CONNECTION_WINDOW_LEN_MIN: u64 = 128 << 10;
/// The same for a publisher, once it has shown that it needs it: 160 Mbit/s over a path of 100 ms.
const CONNECTION_WINDOW_LEN_MAX: u64 = 2 << 20;
/// Of one stream, at first: quiche keeps the connection's window half as large again as this.
const STREAM_WINDOW_LEN_MIN: u64 = 64 << 10;
/// Of one stream of a publisher.
const STREAM_WINDOW_LEN_MAX: u64 = 1 << 20;
/// Connections of one shard that may have the larger windows: at most 256 MiB in flight.
pub(super) const WIDE_CONNECTIONS_MAX: usize = 128;
/// The most that takes two bytes in the transport parameters; a peer's answers to our own requests are shorter, and read at once.
const ANSWER_WINDOW_LEN: u64 = (16 << 10) - 1;
/// Open streams a peer may have. Requests are one stream each; quiche raises the limit as streams end.
const STREAMS_MAX: u64 = 128;
/// Addresses that a peer may have had in one connection, and ids that it may issue to us. quiche keeps a path for each pair of
/// addresses, some KiB, and gives one free only when the peer has retired its id and issued no other, so in practice never: this
/// bounds what a peer that hops can cost, and is far more often than a device changes its network during one broadcast.
pub(super) const PATHS_MAX: u64 = 32;
/// Queued datagrams of a connection, in each direction; further ones are lost, as in a network.
const DATAGRAM_QUEUE_LEN: usize = 64;

/// The certificate chain and key of the relay, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Builds a server configuration; called at start and for every certificate reload.
pub fn server_config(tls: &TlsFiles, idle_timeout_ms: u64) -> Result<quiche::Config, EngineError> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    let load = |path: &PathBuf, load: &mut dyn FnMut(&str) -> quiche::Result<()>| {
        let text = path
            .to_str()
            .ok_or_else(|| EngineError::Tls { path: path.clone(), detail: "the path is not UTF-8".into() })?;
        load(text).map_err(|error| EngineError::Tls { path: path.clone(), detail: error.to_string() })
    };
    load(&tls.certificate, &mut |path| config.load_cert_chain_from_pem_file(path))?;
    load(&tls.key, &mut |path| config.load_priv_key_from_pem_file(path))?;
    config.set_application_protos(ALPN)?;
    config.set_max_idle_timeout(idle_timeout_ms);
    // quiche probes no further than what we say that we take.
    config.set_max_recv_udp_payload_size(SEND_PAYLOAD_LEN_MAX);
    // It writes the transport parameters into 128 bytes, which is too little after a Retry with all that we say. Of this one it
    // then says nothing, nor uses it; its default is what we want (RFC 9000 §18.2): 25 ms.
    config.set_max_ack_delay(0);
    // A connection begins with 1,200 bytes and probes for more (RFC 8899): ICMP never reaches an AF_XDP socket, and lies at times.
    config.discover_pmtu(true);
    config.set_max_send_udp_payload_size(SEND_PAYLOAD_LEN_MAX);
    config.set_initial_max_data(CONNECTION_WINDOW_LEN_MIN);
    config.set_max_connection_window(CONNECTION_WINDOW_LEN_MAX);
    config.set_initial_max_stream_data_uni(STREAM_WINDOW_LEN_MIN);
    config.set_max_stream_window(STREAM_WINDOW_LEN_MAX);
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW_LEN_MIN);
    config.set_initial_max_stream_data_bidi_local(ANSWER_WINDOW_LEN);
    config.set_initial_max_streams_bidi(STREAMS_MAX);
    config.set_initial_max_streams_uni(STREAMS_MAX);
    config.set_active_connection_id_limit(PATHS_MAX);
    config.set_disable_active_migration(false);
    config.enable_dgram(true, DATAGRAM_QUEUE_LEN, DATAGRAM_QUEUE_LEN);
    config.enable_pacing(false);
    Ok(config)
}

/// The largest payload worth a probe on the way to a peer.
pub(crate) fn send_payload_len_max(peer: IpAddr) -> usize {
    match peer.to_canonical() {
        IpAddr::V4(_) => SEND_PAYLOAD_LEN_MAX,
        IpAddr::V6(_) => SEND_PAYLOAD_LEN_MAX_V6,
    }
}
