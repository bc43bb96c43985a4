//! QUIC transport settings and TLS material of a shard.

use std::path::PathBuf;

use crate::EngineError;

/// MoQT drafts on raw QUIC first, then HTTP/3 for WebTransport. quiche picks the first of the *client's* list that is here.
pub(crate) const ALPN: &[&[u8]] = &[b"moqt-18", b"h3"];

/// Largest UDP payload sent before path MTU discovery is in place: fits every path with an IPv6 MTU of 1400 and the tunnels
/// that are common on them.
pub(crate) const SEND_PAYLOAD_LEN_MAX: usize = 1350;
/// What one connection may have in flight towards us: publishers of several renditions fit, memory stays bounded.
const CONNECTION_WINDOW_LEN: u64 = 8 << 20;
const UNI_STREAM_WINDOW_LEN: u64 = 2 << 20;
const REQUEST_STREAM_WINDOW_LEN: u64 = 128 << 10;
/// Open streams a peer may have. Requests are one stream each; quiche raises the limit as streams end.
const STREAMS_MAX: u64 = 128;
/// Addresses that a peer may have had in one connection, and ids that it may issue to us. quiche keeps a path for each pair of
/// addresses, some KiB, and gives one free only when the peer has retired its id and issued no other, so in practice never: this
/// bounds what a peer that hops can cost, and is far more often than a device changes its network during one broadcast.
pub(super) const PATHS_MAX: u64 = 32;
/// Queued datagrams. MoQT must negotiate QUIC datagrams even where it sends none.
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
    // quiche 0.30 writes the transport parameters into 128 bytes, which is too little after a Retry with all that we say. Of
    // these two it then says nothing, and uses neither itself; their defaults are what we want (RFC 9000 §18.2): any UDP payload
    // that there can be, and 25 ms.
    config.set_max_recv_udp_payload_size(0);
    config.set_max_ack_delay(0);
    config.set_max_send_udp_payload_size(SEND_PAYLOAD_LEN_MAX);
    config.set_initial_max_data(CONNECTION_WINDOW_LEN);
    config.set_max_connection_window(CONNECTION_WINDOW_LEN);
    config.set_initial_max_stream_data_uni(UNI_STREAM_WINDOW_LEN);
    config.set_max_stream_window(UNI_STREAM_WINDOW_LEN);
    config.set_initial_max_stream_data_bidi_remote(REQUEST_STREAM_WINDOW_LEN);
    config.set_initial_max_stream_data_bidi_local(REQUEST_STREAM_WINDOW_LEN);
    config.set_initial_max_streams_bidi(STREAMS_MAX);
    config.set_initial_max_streams_uni(STREAMS_MAX);
    config.set_active_connection_id_limit(PATHS_MAX);
    config.set_disable_active_migration(false);
    config.enable_dgram(true, DATAGRAM_QUEUE_LEN, DATAGRAM_QUEUE_LEN);
    config.enable_pacing(false);
    Ok(config)
}
