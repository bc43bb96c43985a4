//! Waiting for control and for the shards, and the table of endpoints.

use std::time::Duration;

use serde_json::json;
use streams_control::datadir::DataDir;
use streams_control::endpoints::Endpoints;
use streams_control::program::peek;
use streams_operator::text::pairs;
use tokio::time::{Instant, sleep};

use super::Launch;
use crate::Error;
use crate::client::Client;

/// How often is asked.
const POLL: Duration = Duration::from_millis(25);
/// Longest wait: a start takes a second or two, on a machine that is busy building some more.
const READY_MAX: Duration = Duration::from_secs(60);

/// Waits until `path` of the API is answered with success: `/healthz` when control serves, `/readyz` when every shard
/// runs too.
pub async fn wait(dir: &DataDir, endpoints: &Endpoints, path: &str) -> Result<(), Error> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let asked = match Client::new(dir, Some(&endpoints.api()), None) {
            Ok(client) => client.get(path).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(Error::EngineFailed { reason: error.to_string(), log: dir.log("engine.log") });
            }
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Waits until this very engine serves: for a moment the heartbeats of a killed one look like those of a living one, to
/// `/readyz` too.
pub async fn wait_for_engine(dir: &DataDir, endpoints: &Endpoints, pid: u32) -> Result<(), Error> {
    let deadline = Instant::now() + READY_MAX;
    while peek(&dir.run_dir()).pid() != Some(pid) {
        if Instant::now() >= deadline {
            let reason = format!("its shards did not start within {} s", READY_MAX.as_secs());
            return Err(Error::EngineFailed { reason, log: dir.log("engine.log") });
        }
        sleep(POLL).await;
    }
    wait(dir, endpoints, "/readyz").await
}

/// Prints `ready` and where everything is.
pub fn tell(launch: &Launch<'_>, endpoints: &Endpoints, attached: bool) -> Result<(), Error> {
    let (data, api) = (launch.dir.root().display().to_string(), endpoints.api());
    let plain = endpoints.http_dev_address().map(|address| format!("http://{address}"));
    let value = json!({
        "ready": true,
        "attached": attached,
        "data": data,
        "api": api,
        "api_plain": plain,
        "watch": endpoints.watch(),
        "rtmp": endpoints.rtmp(),
        "rtmps": endpoints.rtmps(),
        "whip": format!("{}/whip", endpoints.edge()),
        "srt": endpoints.srt(),
        "moqt": endpoints.moqt(),
        "webtransport": endpoints.webtransport(),
        "metrics": format!("{api}/metrics"),
    });
    launch.output.show(&value, || {
        let shown = pairs(&[
            ("RTMP in", endpoints.rtmp()),
            ("RTMPS in", endpoints.rtmps()),
            ("WHIP in", format!("{}/whip/<id>", endpoints.edge())),
            ("SRT in", endpoints.srt()),
            ("player page", format!("{}/<id>", endpoints.watch())),
            ("MoQT, QUIC", format!("{}/playback/<id>", endpoints.moqt())),
            ("MoQT, WebTransport", format!("{}/playback/<id>", endpoints.webtransport())),
            ("API", format!("{api}/v1")),
            ("API without TLS", plain.map(|plain| format!("{plain}/v1")).unwrap_or_default()),
            ("health, metrics", format!("{api}/readyz  {api}/metrics")),
            ("data, credentials", data.clone()),
        ]);
        let before = if attached { " (attached to the engine that was running)" } else { "" };
        format!(
            "ready{before}\n\n{shown}\nNext, in another terminal:\n  streams live create --name my-show --ingest rtmp --data {data}\n\
             Ctrl-C stops control and engine.\n"
        )
    })
}
