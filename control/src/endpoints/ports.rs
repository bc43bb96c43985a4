//! Every port is tried before anything is started, so that a taken one is one clear line.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::Endpoints;
use crate::Error;

/// Tries the ports. Those of the engine are left out when it already runs.
pub fn check(endpoints: &Endpoints, engine_runs: bool) -> Result<(), Error> {
    if !engine_runs {
        try_bind("UDP", endpoints.quic_address(), "ports.quic", |address| UdpSocket::bind(address).map(drop))?;
        try_bind("UDP", endpoints.srt_address(), "ports.srt", |address| UdpSocket::bind(address).map(drop))?;
        try_bind("TCP", endpoints.rtmp_address(), "ports.rtmp", |address| TcpListener::bind(address).map(drop))?;
        try_bind("TCP", endpoints.rtmps_address(), "ports.rtmps", |address| TcpListener::bind(address).map(drop))?;
        try_bind("TCP", endpoints.edge_address(), "ports.edge", |address| TcpListener::bind(address).map(drop))?;
        for address in endpoints.webrtc_addresses() {
            try_bind("UDP", address, "ports.webrtc", |address| UdpSocket::bind(address).map(drop))?;
        }
    }
    let tcp = |address| TcpListener::bind(address).map(drop);
    try_bind("TCP", endpoints.https_address(), "ports.https", tcp)?;
    if let Some(address) = endpoints.http_dev_address() {
        try_bind("TCP", address, "ports.http_dev", tcp)?;
    }
    Ok(())
}

fn try_bind(
    protocol: &'static str,
    address: SocketAddr,
    key: &'static str,
    bind: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> Result<(), Error> {
    bind(address).map_err(|source| Error::Port { protocol, address, key, source })
}

#[cfg(test)]
mod tests {
    use streams_config::Config;

    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_key_that_changes_it() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.ports.quic = taken.local_addr().unwrap().port();
        let error = check(&Endpoints::new(&config), false).unwrap_err().to_string();
        assert!(error.contains(&format!("UDP 127.0.0.1:{}", config.ports.quic)), "{error}");
        assert!(error.contains("ports.quic"), "{error}");
    }
}
