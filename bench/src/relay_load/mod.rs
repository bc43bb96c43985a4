//! One publisher and many viewers against any relay that speaks MoQT draft-18 on raw QUIC: ours, or a peer's.
//!
//! ```text
//!   publisher -- 1 track, 1 subgroup a group --> relay --> viewers, a socket each
//!      |  each object: send time, number, filler            |
//!      '------------------ one process, one clock ----------'
//!
//!   a step:  join | settle | window | drain
//! ```
//!
//! Every object of the window is owed to every viewer until the drain is over. The relay is told by its process id, and only its
//! processor time is its cost: viewers read, decrypt and take apart everything, at the same price whichever relay it is.

mod audience;
mod publisher;
mod step;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use streams_relay_core::client::ClientConfig;
use streams_relay_core::wire::{FullTrackName, Namespace};
use streams_sdk::{SessionUrl, Trust};
use tokio::time::sleep;
use url::Url;

use self::audience::Audience;
use self::publisher::Publisher;
use self::step::{Limits, Step};
use crate::error::BenchError;
use crate::report::Report;

/// Port of a URL that names none.
const PORT_DEFAULT: u16 = 4433;
/// Larger objects are no video frames.
const OBJECT_LEN_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a send time and a number, the least that an object holds.
const STAMP_LEN: usize = 16;
/// A namespace that no part of the service has a use for, and the track in it.
const NAMESPACE: &[&str] = &["bench", "relay-load"];
const TRACK: &str = "video";

/// Loads a MoQT relay of any make with one publisher and many viewers
#[derive(Debug, clap::Args)]
pub struct RelayLoadArgs {
    /// The relay, moqt://HOST:PORT[/PATH]; it has to take an anonymous publisher
    #[arg(long)]
    url: String,
    /// The relay's certificate, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Process of the relay: its processor time is its cost
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Viewers, step by step: 25,50,100. Ends at the first step that the relay does not sustain
    #[arg(long, value_delimiter = ',', default_value = "50", value_name = "N,…", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    viewers: Vec<u32>,
    /// Media bits a second of the track
    #[arg(long, default_value_t = 4_800_000, value_name = "BIT/S", value_parser = clap::value_parser!(u32).range(10_000..=200_000_000))]
    bitrate: u32,
    /// Objects a second
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// Length of the window of a step
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// A step is sustained when no object is missing and the 99th percentile of delivery is at most this
    #[arg(long, default_value_t = 100, value_name = "MS")]
    p99_max_ms: u64,
}

/// How the parts of one run reach the relay, and what they send.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    url: SessionUrl,
    trust: Trust,
    track: FullTrackName,
    object_len: usize,
    fps: u32,
}

impl Load {
    fn of(args: &RelayLoadArgs) -> Result<Self, BenchError> {
        let pem = std::fs::read(&args.cert).map_err(BenchError::file("read", &args.cert))?;
        let object_len = usize::try_from(args.bitrate / 8 / args.fps).unwrap_or_default().max(STAMP_LEN);
        let bad_name = |_| BenchError::Protocol("the track of this measurement has no valid name");
        let namespace = Namespace::new(NAMESPACE.iter().copied()).map_err(bad_name)?;
        let track = FullTrackName::new(namespace, TRACK).map_err(bad_name)?;
        Ok(Self { url: relay_url(&args.url)?, trust: Trust::PinnedCertPem(pem), track, object_len, fps: args.fps })
    }

    /// A session that hands out objects as they come.
    fn session(&self) -> ClientConfig {
        ClientConfig {
            implementation: concat!("streams-bench/", env!("CARGO_PKG_VERSION")).to_owned(),
            object_len_max: OBJECT_LEN_MAX,
            group_wait: Duration::ZERO,
            ..ClientConfig::default()
        }
    }
}

/// Runs all steps.
///
/// # Errors
/// [`BenchError`]: no session with the relay, or the relay is gone.
pub async fn run(args: &RelayLoadArgs) -> Result<Report, BenchError> {
    let load = Load::of(args)?;
    let limits = Limits { window: Duration::from_secs(args.seconds), p99_max: Duration::from_millis(args.p99_max_ms) };
    let publisher = Publisher::start(&load).await?;
    let mut audience = Audience::new(load.clone());
    let (mut report, mut steps, mut sustained) = (Report::new("relay-load"), Vec::new(), 0);
    report.value("bitrate", args.bitrate);
    report.value("fps", args.fps);
    report.value("object_bytes", load.object_len);
    for &viewers in &args.viewers {
        let failed = audience.grow(viewers as usize).await;
        sleep(step::SETTLE).await;
        let mut step = Step::measure(viewers, args.pid, &publisher, &audience, &limits).await?;
        step.reasons.extend(failed);
        report.row(&format!("viewers_{viewers}"), step.sustained(&limits), &format!("{viewers} viewers"), step.shown());
        steps.push(step.json(&limits));
        if !step.sustained(&limits) {
            break;
        }
        sustained = viewers;
    }
    report.row("sustained_viewers", sustained, "sustained", format!("{sustained} viewers"));
    report.value("steps", Value::Array(steps));
    if sustained == 0 {
        report.failure("not even the first number of viewers got everything in time");
    }
    Ok(report)
}

fn relay_url(text: &str) -> Result<SessionUrl, BenchError> {
    let bad = || BenchError::RelayUrl(text.to_owned());
    let url = Url::parse(text).map_err(|_| bad())?;
    let host = url.host_str().filter(|host| !host.is_empty() && url.scheme() == "moqt").ok_or_else(bad)?;
    let port = url.port().unwrap_or(PORT_DEFAULT);
    let path = if url.path().is_empty() { "/" } else { url.path() };
    Ok(SessionUrl {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        authority: format!("{host}:{port}"),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_url_needs_no_path_and_may_have_one() {
        let url = relay_url("moqt://127.0.0.1:4443").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("127.0.0.1", 4443, "/"));
        let url = relay_url("moqt://[::1]/anon").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", PORT_DEFAULT, "/anon"));
        for bad in ["https://127.0.0.1", "moqt:", "127.0.0.1:4443"] {
            assert!(relay_url(bad).unwrap_err().to_string().contains(bad));
        }
    }
}
