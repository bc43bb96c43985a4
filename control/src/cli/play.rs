//! `streams play URL`

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use streams_sdk::{PlayEvent, PlayOptions, PlaySummary, Trust, play};
use tokio::io::AsyncWrite;
use url::Url;

use super::output::{Output, pairs};
use super::parse_duration;
use crate::Error;
use crate::datadir::DataDir;
use crate::tls::Certificates;

#[derive(Debug, clap::Args)]
pub struct PlayArgs {
    /// `moqt://HOST:PORT/playback/<id>?tok=<jwt>`, from `streams playback-url`
    url: String,
    /// Write fragmented MP4 to this file, or to standard output with `-`
    #[arg(short, long, value_name = "FILE|-")]
    output: Option<PathBuf>,
    /// Video rendition, such as 720p [default: the highest]
    #[arg(long, value_name = "R")]
    rendition: Option<String>,
    /// Watch for so long, counted from the first object [default: to the end]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    for_duration: Option<Duration>,
    /// Print figures once a second
    #[arg(long)]
    stats: bool,
}

pub async fn run(dir: &DataDir, args: PlayArgs, output: &Output) -> Result<(), Error> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    let mut options = PlayOptions::new(&args.url, trust(dir, &args.url)?);
    options.rendition = args.rendition;
    options.for_duration = args.for_duration;
    options.stats = args.stats;
    options.output = match args.output.as_deref() {
        None => None,
        Some(_) if to_stdout => Some(Box::new(tokio::io::stdout()) as Box<dyn AsyncWrite + Send + Unpin>),
        Some(path) => {
            Some(Box::new(tokio::fs::File::create(path).await.map_err(Error::file("create", path))?) as Box<_>)
        }
    };
    let noted = *output;
    let summary = tokio::select! {
        summary = play(options, move |event| note(&noted, &event)) => summary?,
        _ = tokio::signal::ctrl_c() => {
            output.note("stopped");
            return Ok(());
        }
    };
    let value = summary_json(&summary);
    // Standard output is the film's: what is said about it goes beside.
    if to_stdout {
        output.note(&if output.is_json() { value.to_string() } else { summary_text(&summary) });
        return Ok(());
    }
    output.show(&value, || summary_text(&summary))
}

/// This installation's own certificate by identity for its own names, the system's authorities for all others.
fn trust(dir: &DataDir, url: &str) -> Result<Trust, Error> {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    let certificates = Certificates::new(dir.tls(), host.as_deref().unwrap_or("localhost"));
    if !host.is_some_and(|host| certificates.issued_for(&host)) {
        return Ok(Trust::System);
    }
    Ok(Trust::PinnedCertPem(certificates.pinned_pem()))
}

fn note(output: &Output, event: &PlayEvent) {
    if output.is_json() && !matches!(event, PlayEvent::Stats(_)) {
        return;
    }
    let none = || "none".to_owned();
    let line = match event {
        PlayEvent::Connected { took } => format!("connected in {} ms", took.as_millis()),
        PlayEvent::Tracks { video, audio } => format!(
            "playing: video {}, audio {}",
            video.clone().unwrap_or_else(none),
            audio.clone().unwrap_or_else(none)
        ),
        PlayEvent::Started { join_time } => format!("first object after {} ms", join_time.as_millis()),
        PlayEvent::Reconnecting { attempt, after, reason } => {
            format!("connection lost ({reason}); attempt {attempt} in {} ms", after.as_millis())
        }
        PlayEvent::Stats(summary) if output.is_json() => summary_json(summary).to_string(),
        PlayEvent::Stats(summary) => format!(
            "{:>5.1} s  {} objects  {} kbit/s  {} groups  {} stalls",
            summary.watched.as_secs_f64(),
            summary.objects,
            bitrate_kbit_s(summary),
            summary.groups,
            summary.stalls
        ),
    };
    output.note(&line);
}

fn bitrate_kbit_s(summary: &PlaySummary) -> u64 {
    let ms = u64::try_from(summary.watched.as_millis()).unwrap_or(u64::MAX).max(1);
    summary.payload_bytes.saturating_mul(8) / ms
}

fn summary_json(summary: &PlaySummary) -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "video": summary.video,
        "audio": summary.audio,
        "join_ms": summary.join_time.map(ms),
        "watched_ms": ms(summary.watched),
        "media_ms": ms(summary.media_duration),
        "objects": summary.objects,
        "payload_bytes": summary.payload_bytes,
        "written_bytes": summary.written_bytes,
        "groups": summary.groups,
        "dropped_objects": summary.dropped_objects,
        "skipped_groups": summary.skipped_groups,
        "stalls": summary.stalls,
        "reconnects": summary.reconnects,
    })
}

fn summary_text(summary: &PlaySummary) -> String {
    pairs(&[
        ("video", summary.video.clone().unwrap_or_default()),
        ("audio", summary.audio.clone().unwrap_or_default()),
        ("join time", summary.join_time.map(|time| format!("{} ms", time.as_millis())).unwrap_or_default()),
        ("watched", format!("{:.1} s", summary.watched.as_secs_f64())),
        ("media written", format!("{:.1} s, {} bytes", summary.media_duration.as_secs_f64(), summary.written_bytes)),
        ("objects", format!("{} in {} groups, {} kbit/s", summary.objects, summary.groups, bitrate_kbit_s(summary))),
        ("left out", format!("{} objects, {} groups", summary.dropped_objects, summary.skipped_groups)),
        ("stalls", format!("{}, {} reconnects", summary.stalls, summary.reconnects)),
    ])
}
