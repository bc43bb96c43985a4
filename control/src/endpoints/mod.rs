//! The URLs that this installation prints: one place that knows hosts and ports.

pub mod ports;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;
use serde_json::{Value, json};
use streams_config::{Config, Profile};

/// Host and ports of an installation.
#[derive(Debug, Clone)]
pub struct Endpoints {
    host: IpAddr,
    quic: u16,
    rtmp: u16,
    rtmps: u16,
    edge: u16,
    webrtc: (u16, usize),
    srt: u16,
    https: u16,
    http_dev: Option<u16>,
}

/// Where a viewer can watch.
#[derive(Debug, Clone, Serialize)]
pub struct PlaybackUrls {
    /// Raw MoQT over QUIC.
    pub moqt: String,
    /// MoQT over WebTransport.
    pub webtransport: String,
    /// LL-HLS; none while no HTTPS edge is served.
    pub hls: Option<String>,
    /// The player page.
    pub watch: String,
}

impl Endpoints {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            host: config.server.host,
            quic: config.ports.quic,
            rtmp: config.ports.rtmp,
            rtmps: config.ports.rtmps,
            edge: config.edge_port(),
            webrtc: (config.ports.webrtc, config.shards()),
            srt: config.ports.srt,
            https: config.ports.https,
            http_dev: (config.server.profile == Profile::Dev).then_some(config.ports.http_dev),
        }
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.host, port)
    }

    /// Where the API listens, with TLS.
    pub fn https_address(&self) -> SocketAddr {
        self.at(self.https)
    }

    /// Where the API listens without TLS: loopback, in the dev profile.
    pub fn http_dev_address(&self) -> Option<SocketAddr> {
        self.http_dev.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// Where the shards listen for QUIC (UDP).
    pub fn quic_address(&self) -> SocketAddr {
        self.at(self.quic)
    }

    /// Where the shards listen for RTMP (TCP).
    pub fn rtmp_address(&self) -> SocketAddr {
        self.at(self.rtmp)
    }

    /// Where the shards listen for RTMP in TLS (TCP).
    pub fn rtmps_address(&self) -> SocketAddr {
        self.at(self.rtmps)
    }

    /// Where the shards listen for SRT (UDP).
    pub fn srt_address(&self) -> SocketAddr {
        self.at(self.srt)
    }

    /// Where encoders push SRT.
    pub fn srt(&self) -> String {
        format!("srt://{}", self.srt_address())
    }

    /// Where the shards listen for HTTPS (TCP).
    pub fn edge_address(&self) -> SocketAddr {
        self.at(self.edge)
    }

    /// Where each shard receives WebRTC media (UDP).
    pub fn webrtc_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let (first, shards) = self.webrtc;
        (first..).take(shards).map(|port| self.at(port))
    }

    /// Base URL of the shards' HTTPS.
    pub fn edge(&self) -> String {
        format!("https://{}", self.edge_address())
    }

    /// Base URL of the API.
    pub fn api(&self) -> String {
        format!("https://{}", self.https_address())
    }

    /// Base URL of WebTransport sessions.
    pub fn webtransport(&self) -> String {
        format!("https://{}", self.quic_address())
    }

    /// [`Self::webtransport`] for a Content-Security-Policy. That has no notation for IPv6 addresses (CSP Level 3 §2.3.1,
    /// host-part), so scheme and port have to do for one.
    pub fn webtransport_policy_source(&self) -> String {
        match self.host {
            IpAddr::V4(_) => self.webtransport(),
            IpAddr::V6(_) => format!("https://*:{}", self.quic),
        }
    }

    /// Base URL of raw MoQT sessions.
    pub fn moqt(&self) -> String {
        format!("moqt://{}", self.quic_address())
    }

    /// Where encoders push RTMP.
    pub fn rtmp(&self) -> String {
        format!("rtmp://{}/live", self.rtmp_address())
    }

    /// The same in TLS.
    pub fn rtmps(&self) -> String {
        format!("rtmps://{}/live", self.rtmps_address())
    }

    /// Base URL of the player page.
    pub fn watch(&self) -> String {
        match self.http_dev_address() {
            Some(address) => format!("http://{address}/watch"),
            None => format!("{}/watch", self.api()),
        }
    }

    /// The MoQT namespace tuple of a resource.
    pub fn namespace<'a>(&self, org: &'a str, id: &'a str) -> [&'a str; 3] {
        ["stream", org, id]
    }

    /// Where an encoder may push to an input of a kind. What no listener serves, or the kind refuses, is null. With a key the
    /// URLs that carry it in their query are whole.
    pub fn ingest_urls(&self, id: &str, kind: &str, key: Option<&str>) -> Value {
        let query = key.map(|key| format!("?sk={key}")).unwrap_or_default();
        let stream_id = key.map(|key| format!("?streamid={key}")).unwrap_or_default();
        json!({
            "rtmp": matches!(kind, "rtmp" | "any").then(|| self.rtmp()),
            "rtmps": matches!(kind, "rtmp" | "any").then(|| self.rtmps()),
            "srt": matches!(kind, "srt" | "any").then(|| format!("{}{stream_id}", self.srt())),
            "whip": matches!(kind, "whip" | "any").then(|| format!("{}/whip/{id}", self.edge())),
            "moqt": matches!(kind, "fmp4" | "any").then(|| format!("{}/publish/{id}{query}", self.moqt())),
            "webtransport": matches!(kind, "fmp4" | "any").then(|| format!("{}/publish/{id}{query}", self.webtransport())),
        })
    }

    /// Where a viewer with `token` may watch.
    pub fn playback_urls(&self, id: &str, token: &str) -> PlaybackUrls {
        PlaybackUrls {
            moqt: format!("{}/playback/{id}?tok={token}", self.moqt()),
            webtransport: format!("{}/playback/{id}?tok={token}", self.webtransport()),
            hls: None,
            watch: format!("{}/{id}?tok={token}", self.watch()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_the_host_and_port_of_each_service() {
        let mut config = Config::default();
        let urls = Endpoints::new(&config).playback_urls("lv_1", "T");
        assert_eq!(urls.moqt, "moqt://127.0.0.1:4433/playback/lv_1?tok=T");
        assert_eq!(urls.watch, "http://127.0.0.1:8080/watch/lv_1?tok=T");
        assert_eq!(Endpoints::new(&config).webtransport_policy_source(), "https://127.0.0.1:4433");
        config.server.host = "2001:db8::1".parse().unwrap();
        config.server.profile = Profile::Production;
        let endpoints = Endpoints::new(&config);
        assert_eq!(endpoints.playback_urls("lv_1", "T").watch, "https://[2001:db8::1]:8443/watch/lv_1?tok=T");
        assert_eq!(endpoints.ingest_urls("lv_1", "rtmp", None)["rtmp"], "rtmp://[2001:db8::1]:1935/live");
        assert_eq!(endpoints.ingest_urls("lv_1", "any", None)["whip"], "https://[2001:db8::1]:4433/whip/lv_1");
        assert_eq!(endpoints.ingest_urls("lv_1", "rtmp", None)["whip"], Value::Null, "it would be refused");
        assert_eq!(endpoints.ingest_urls("lv_1", "srt", None)["rtmp"], Value::Null, "it would be refused");
        assert_eq!(endpoints.ingest_urls("lv_1", "srt", None)["srt"], "srt://[2001:db8::1]:9710");
        assert_eq!(endpoints.ingest_urls("lv_1", "any", Some("KEY"))["srt"], "srt://[2001:db8::1]:9710?streamid=KEY");
        assert_eq!(endpoints.webtransport_policy_source(), "https://*:4433");
    }
}
