//! The UDP sockets and the TLS of any number of viewers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{Connection, Endpoint, TransportConfig};
use streams_relay_core::wire::Draft;

use crate::error::close_reason;
use crate::{ClientError, SessionUrl, Trust, tls};

/// A session without a packet for this long is over. Live media flows all the time, so that a restarted server is noticed soon;
/// a loss of a few packets in a row is not it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Three tries within the idle timeout.
const KEEP_ALIVE: Duration = Duration::from_millis(900);
/// How long a handshake may take, all addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams that the server may have open: one a group and track, with a reserve for a viewer that is behind.
const UNI_STREAMS_MAX: u32 = 1024;

/// Any port of any interface.
const ANY_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const ANY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// Connects viewers. One socket serves all sessions of one address family; make several clients to spread viewers over sockets.
#[derive(Debug)]
pub struct Client {
    config: quinn::ClientConfig,
    v4: OnceLock<Endpoint>,
    v6: OnceLock<Endpoint>,
}

impl Client {
    /// A client that believes what `trust` says.
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Usage`] when a PEM holds no certificate, [`crate::ClientErrorKind::Failed`] when the system has no
    /// roots.
    pub fn new(trust: &Trust) -> Result<Self, ClientError> {
        let tls = QuicClientConfig::try_from(tls::client_config(trust)?).map_err(ClientError::failed)?;
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().map_err(ClientError::failed)?))
            .keep_alive_interval(Some(KEEP_ALIVE))
            .max_concurrent_uni_streams(UNI_STREAMS_MAX.into());
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        Ok(Self { config, v4: OnceLock::new(), v6: OnceLock::new() })
    }

    /// Waits until closed sessions have told their servers.
    pub async fn wait_idle(&self) {
        for endpoint in [&self.v4, &self.v6].into_iter().filter_map(OnceLock::get) {
            endpoint.wait_idle().await;
        }
    }

    /// Goes on from new UDP sockets, as a device does that leaves its Wi-Fi for another network: all sessions stay, and move to the
    /// new addresses (RFC 9000 §9). What is on its way to the old ones may be lost and is sent again.
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Failed`] when there is no socket to be had; the sessions then stay on the old one.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn rebind(&self) -> Result<(), ClientError> {
        let no_socket = |error| ClientError::failed(format!("no UDP socket: {error}"));
        for (slot, any) in [(&self.v4, ANY_V4), (&self.v6, ANY_V6)] {
            if let Some(endpoint) = slot.get() {
                let socket = UdpSocket::bind(any).map_err(no_socket)?;
                endpoint.rebind(socket).map_err(no_socket)?;
            }
        }
        Ok(())
    }

    pub(super) async fn connect(&self, url: &SessionUrl) -> Result<(Connection, Draft), ClientError> {
        let connecting = self.connect_any(url);
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
            ClientError::unreachable(format!("{}:{} does not answer: is the engine running there?", url.host, url.port))
        })??;
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        let draft = alpn.as_deref().and_then(Draft::from_alpn);
        let draft = draft.ok_or_else(|| ClientError::unreachable("the server speaks no version of MoQT that we do"))?;
        Ok((connection, draft))
    }

    async fn connect_any(&self, url: &SessionUrl) -> Result<Connection, ClientError> {
        let addresses = tokio::net::lookup_host((url.host.as_str(), url.port))
            .await
            .map_err(|error| ClientError::unreachable(format!("{} has no address: {error}", url.host)))?;
        let mut last = ClientError::unreachable(format!("{} has no address", url.host));
        for address in addresses {
            let connecting = self
                .endpoint(address)?
                .connect_with(self.config.clone(), address, &url.host)
                .map_err(|error| ClientError::unreachable(format!("{address}: {error}")))?;
            match connecting.await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let ClientError { kind, reason } = close_reason(&error);
                    last = ClientError { kind, reason: format!("{address}: {reason}") };
                }
            }
        }
        Err(last)
    }

    fn endpoint(&self, address: SocketAddr) -> Result<&Endpoint, ClientError> {
        let (slot, any) = match address {
            SocketAddr::V4(_) => (&self.v4, ANY_V4),
            SocketAddr::V6(_) => (&self.v6, ANY_V6),
        };
        if let Some(endpoint) = slot.get() {
            return Ok(endpoint);
        }
        let endpoint = Endpoint::client(any).map_err(|error| ClientError::failed(format!("no UDP socket: {error}")))?;
        Ok(slot.get_or_init(|| endpoint))
    }
}
