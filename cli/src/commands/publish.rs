//! `streams publish URL FILE|-`

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use streams_control::datadir::DataDir;
use streams_operator::text::pairs;
use streams_sdk::{
    ClientError, ClientErrorKind, PublishEvent, PublishInput, PublishOptions, PublishSummary, Trust, publish,
};

use super::play::{parse_sha256, trust};
use crate::Error;
use crate::output::Output;
use crate::signals::StopSignals;

#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// `moqt://HOST:PORT/publish/<input id>?sk=<stream key>`, from `streams live create`
    url: String,
    /// MP4, fragmented or not, with H.264, H.265, AV1 or VP9 and AAC or Opus; `-` reads a fragmented one from standard input
    #[arg(value_name = "FILE|-")]
    input: PathBuf,
    /// Begin again at the end of the file, until Ctrl-C
    #[arg(long = "loop")]
    looped: bool,
    /// Send each picture when it is due, as an encoder would. Otherwise it goes as fast as it is read and the link takes it
    #[arg(long)]
    realtime: bool,
    /// Trust the server whose certificate has this SHA-256, whoever issued it: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    cert_sha256: Option<[u8; 32]>,
    /// Print figures once a second
    #[arg(long)]
    stats: bool,
}

pub async fn run(dir: &DataDir, args: PublishArgs, output: &Output) -> Result<(), Error> {
    let trust = args.cert_sha256.map_or_else(|| trust(dir, &args.url), |hash| Ok(Trust::CertSha256(hash)))?;
    let advise = matches!(trust, Trust::System);
    let failed = |error: ClientError| match error.kind {
        ClientErrorKind::Untrusted if advise => Error::Untrusted(error),
        _ => Error::Publish(error),
    };
    let input = match args.input.as_path() {
        path if path == Path::new("-") => PublishInput::Reader(Box::new(std::io::stdin())),
        path => PublishInput::File(path.to_owned()),
    };
    if args.looped && matches!(input, PublishInput::Reader(_)) {
        return Err(Error::Usage("--loop needs a file: standard input cannot begin again".to_owned()));
    }
    let mut options = PublishOptions::new(&args.url, trust, input);
    (options.looped, options.realtime, options.stats) = (args.looped, args.realtime, args.stats);
    let mut signals = StopSignals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    options.stop = Some(Box::pin(async { stopped.await.unwrap_or(()) }));
    let noted = *output;
    let mut publishing = pin!(publish(options, move |event| note(&noted, &event)));
    let summary = tokio::select! {
        summary = &mut publishing => summary.map_err(failed)?,
        () = signals.next() => {
            output.note("stopping (again to stop at once)");
            // It is gone only when the publishing has ended in the same moment.
            let _ = stop.send(());
            tokio::select! {
                summary = &mut publishing => summary.map_err(failed)?,
                () = signals.next() => return Err(Error::Interrupted),
            }
        }
    };
    output.show(&summary_json(&summary), || summary_text(&summary))
}

fn note(output: &Output, event: &PublishEvent) {
    if output.is_json() && !matches!(event, PublishEvent::Stats(_)) {
        return;
    }
    let line = match event {
        PublishEvent::Connected { took } => format!("connected in {} ms", took.as_millis()),
        PublishEvent::Live => "live: viewers can watch".to_owned(),
        PublishEvent::Reconnecting { attempt, after, reason } => {
            format!("connection lost ({reason}); attempt {attempt} in {} ms", after.as_millis())
        }
        PublishEvent::Stats(summary) if output.is_json() => summary_json(summary).to_string(),
        PublishEvent::Stats(summary) => format!(
            "{:>5.1} s  {} objects  {} kbit/s  {} groups, {} left out",
            summary.published.as_secs_f64(),
            summary.objects,
            bitrate_kbit_s(summary),
            summary.groups,
            summary.dropped_groups,
        ),
    };
    output.note(&line);
}

/// Of the media, however fast it was sent.
fn bitrate_kbit_s(summary: &PublishSummary) -> u64 {
    let ms = u64::try_from(summary.media_duration.as_millis()).unwrap_or(u64::MAX).max(1);
    summary.payload_bytes.saturating_mul(8) / ms
}

fn summary_json(summary: &PublishSummary) -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "published_ms": ms(summary.published),
        "media_ms": ms(summary.media_duration),
        "objects": summary.objects,
        "payload_bytes": summary.payload_bytes,
        "groups": summary.groups,
        "dropped_groups": summary.dropped_groups,
        "reconnects": summary.reconnects,
    })
}

fn summary_text(summary: &PublishSummary) -> String {
    pairs(&[
        ("published", format!("{:.1} s", summary.published.as_secs_f64())),
        ("media", format!("{:.1} s, {} kbit/s", summary.media_duration.as_secs_f64(), bitrate_kbit_s(summary))),
        ("objects", format!("{} in {} groups", summary.objects, summary.groups)),
        ("left out", format!("{} groups", summary.dropped_groups)),
        ("reconnects", summary.reconnects.to_string()),
    ])
}
