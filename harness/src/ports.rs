//! Ports that nobody uses.

use std::net::{TcpListener, UdpSocket};

use crate::HarnessError;

/// Ports of one stack.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// UDP: QUIC.
    pub quic: u16,
    /// TCP: RTMP.
    pub rtmp: u16,
    /// TCP: API with TLS.
    pub https: u16,
    /// TCP: API and player page without TLS.
    pub http_dev: u16,
}

impl Ports {
    /// Four that are free on loopback now. They are held until all are known, so that they differ. Those of a namespace of its
    /// own are free there as well.
    ///
    /// # Errors
    /// [`HarnessError::File`] when the machine has none.
    pub fn free() -> Result<Self, HarnessError> {
        let none = || HarnessError::file("find a free port on", "127.0.0.1");
        let udp = UdpSocket::bind("127.0.0.1:0").map_err(none())?;
        let tcp = || TcpListener::bind("127.0.0.1:0").map_err(none());
        let tcp = [tcp()?, tcp()?, tcp()?];
        let [rtmp, https, http_dev] = tcp.each_ref().map(|listener| listener.local_addr().map(|at| at.port()));
        Ok(Self {
            quic: udp.local_addr().map_err(none())?.port(),
            rtmp: rtmp.map_err(none())?,
            https: https.map_err(none())?,
            http_dev: http_dev.map_err(none())?,
        })
    }
}
