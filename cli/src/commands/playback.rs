//! `streams playback-url ID`

use std::time::Duration;

use serde_json::{Value, json};
use streams_operator::text::{field, pairs};

use super::live::{resource, segment};
use crate::client::Client;
use crate::output::Output;
use crate::{Error, parse_duration};

#[derive(Debug, clap::Args)]
pub struct PlaybackUrlArgs {
    /// `lv_…`
    id: String,
    /// Life of the URLs: 30s to 24h
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

pub async fn run(client: &Client, args: PlaybackUrlArgs, output: &Output) -> Result<(), Error> {
    let path = format!("/v1/live-inputs/{}/playback-url", segment(&args.id));
    let urls = resource(client.post(&path, &json!({ "ttl_seconds": args.ttl.as_secs() })).await?);
    let names = ["moqt", "webtransport", "hls", "watch", "namespace", "token", "expires_at", "certificate_sha256"];
    let object = names.iter().map(|name| ((*name).to_owned(), urls.get(*name).cloned().unwrap_or(Value::Null)));
    output.show(&Value::Object(object.collect()), || {
        let moqt = field(&urls, "moqt");
        let hashes = urls.get("certificate_sha256").and_then(Value::as_array);
        let certificate = hashes.and_then(|hashes| hashes.first()?.as_str()).unwrap_or_default().to_owned();
        let shown = pairs(&[
            ("watch", field(&urls, "watch")),
            ("moqt", moqt.clone()),
            ("webtransport", field(&urls, "webtransport")),
            ("hls", field(&urls, "hls")),
            ("expires", field(&urls, "expires_at")),
            ("certificate", certificate.clone()),
        ]);
        let elsewhere = match certificate.is_empty() {
            true => String::new(),
            false => {
                format!("On another machine, which does not know this certificate, add: --cert-sha256 {certificate}\n")
            }
        };
        format!("{shown}\nOpen the watch URL in Chrome, or: streams play '{moqt}' -o out.mp4 --for 10s\n{elsewhere}")
    })
}
