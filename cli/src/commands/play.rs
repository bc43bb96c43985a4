//! `streams play URL`

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use streams_control::datadir::DataDir;
use streams_control::tls::Certificates;
use streams_operator::text::pairs;
use streams_sdk::{ClientError, ClientErrorKind, OpenPart, PlayEvent, PlayOptions, PlaySummary, Trust, play};
use url::Url;

use crate::output::Output;
use crate::signals::StopSignals;
use crate::{Error, parse_duration};

#[derive(Debug, clap::Args)]
pub struct PlayArgs {
    /// `moqt://HOST:PORT/playback/<id>?tok=<jwt>`, from `streams playback-url`
    url: String,
    /// Write fragmented MP4 to this file, or to standard output with `-`. When the broadcast changes its codec settings (another
    /// picture size), the recording goes on in a file numbered `-2` and so on
    #[arg(short, long, value_name = "FILE|-")]
    output: Option<PathBuf>,
    /// Video rendition, such as 720p [default: the highest]
    #[arg(long, value_name = "R")]
    rendition: Option<String>,
    /// Watch for so long, counted from the first object [default: to the end]. Ctrl-C ends it earlier and finishes the file
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    for_duration: Option<Duration>,
    /// Trust the server whose certificate has this SHA-256, whoever issued it: 64 hex digits, as `streams playback-url` prints them
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    cert_sha256: Option<[u8; 32]>,
    /// Print figures once a second
    #[arg(long)]
    stats: bool,
    /// Exit with 1 when media is missing between the first frame and the last
    #[arg(long)]
    strict: bool,
}

pub async fn run(dir: &DataDir, args: PlayArgs, output: &Output) -> Result<(), Error> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    let trust = args.cert_sha256.map_or_else(|| trust(dir, &args.url), |hash| Ok(Trust::CertSha256(hash)))?;
    let advise = matches!(trust, Trust::System);
    let failed = |error: ClientError| match error.kind {
        ClientErrorKind::Untrusted if advise => Error::Untrusted(error),
        _ => Error::Play(error),
    };
    let mut options = PlayOptions::new(&args.url, trust);
    options.rendition = args.rendition;
    options.for_duration = args.for_duration;
    options.stats = args.stats;
    options.output = args.output.map(open_part);
    let mut signals = StopSignals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    options.stop = Some(Box::pin(async { stopped.await.unwrap_or(()) }));
    let noted = *output;
    let mut playing = pin!(play(options, move |event| note(&noted, &event)));
    let summary = tokio::select! {
        summary = &mut playing => summary.map_err(failed)?,
        () = signals.next() => {
            output.note("stopping (again to stop at once)");
            // It is gone only when the playing has ended in the same moment.
            let _ = stop.send(());
            tokio::select! {
                summary = &mut playing => summary.map_err(failed)?,
                () = signals.next() => return Err(Error::Interrupted),
            }
        }
    };
    let value = summary_json(&summary);
    // Standard output is the film's: what is said about it goes beside.
    if to_stdout {
        output.note(&if output.is_json() { value.to_string() } else { summary_text(&summary) });
    } else {
        output.show(&value, || summary_text(&summary))?;
    }
    if args.strict { whole(&summary) } else { Ok(()) }
}

/// What `--strict` asks for.
fn whole(summary: &PlaySummary) -> Result<(), Error> {
    if summary.holes == 0 {
        return Ok(());
    }
    let reason = format!("media is missing: {}", missing_text(summary));
    Err(ClientError { kind: ClientErrorKind::Failed, reason }.into())
}

/// Opens the parts of a recording: `FILE`, then `FILE-2` and so on, with the number before the extension.
fn open_part(output: PathBuf) -> OpenPart {
    Box::new(move |part| {
        if output == Path::new("-") {
            if part > 1 {
                return Err(io::Error::other("the codec settings changed, and standard output holds one file"));
            }
            return Ok(Box::new(tokio::io::stdout()));
        }
        let path = part_path(&output, part);
        let file = std::fs::File::create(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    })
}

fn part_path(output: &Path, part: u32) -> PathBuf {
    if part == 1 {
        return output.to_owned();
    }
    let mut name = output.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{part}"));
    if let Some(extension) = output.extension() {
        name.push(".");
        name.push(extension);
    }
    output.with_file_name(name)
}

/// 64 hex digits, with colons between them or without.
pub fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let digits: Option<Vec<u8>> = text.chars().filter(|c| *c != ':').map(|c| Some(c.to_digit(16)? as u8)).collect();
    let wrong = || "it must be the SHA-256 of a certificate: 64 hex digits".to_owned();
    let bytes: Vec<u8> =
        digits.ok_or_else(wrong)?.chunks(2).map(|pair| pair.iter().fold(0, |all, d| all << 4 | d)).collect();
    let len = text.chars().filter(|c| *c != ':').count();
    bytes.try_into().ok().filter(|_| len == 64).ok_or_else(wrong)
}

/// This installation's own certificate by identity for its own names, the system's authorities for all others.
pub fn trust(dir: &DataDir, url: &str) -> Result<Trust, Error> {
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
        PlayEvent::NoKeyFrame { waited } => format!(
            "no key frame yet: viewers cannot join for {:.0} s now; the broadcaster should use a closed GOP",
            waited.as_secs_f64()
        ),
        PlayEvent::NextPart(part) => format!("the codec settings changed; the recording goes on in part {part}"),
        PlayEvent::Stats(summary) if output.is_json() => summary_json(summary).to_string(),
        PlayEvent::Stats(summary) => format!(
            "{:>5.1} s  {} objects  {} kbit/s  {} groups  {} stalls  {} ms missing",
            summary.watched.as_secs_f64(),
            summary.objects,
            bitrate_kbit_s(summary),
            summary.groups,
            summary.stalls,
            summary.missing.as_millis()
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
        "parts": summary.parts,
        "groups": summary.groups,
        "dropped_objects": summary.dropped_objects,
        "skipped_groups": summary.skipped_groups,
        "holes": summary.holes,
        "missing_ms": ms(summary.missing),
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
        ("media written", written_text(summary)),
        ("objects", format!("{} in {} groups, {} kbit/s", summary.objects, summary.groups, bitrate_kbit_s(summary))),
        ("left out", format!("{} objects, {} groups", summary.dropped_objects, summary.skipped_groups)),
        ("missing", missing_text(summary)),
        ("stalls", format!("{}, {} reconnects", summary.stalls, summary.reconnects)),
    ])
}

fn missing_text(summary: &PlaySummary) -> String {
    let holes = if summary.holes == 1 { "hole" } else { "holes" };
    format!("{:.1} s in {} {holes}", summary.missing.as_secs_f64(), summary.holes)
}

fn written_text(summary: &PlaySummary) -> String {
    let files = if summary.parts > 1 { format!(" in {} files", summary.parts) } else { String::new() };
    format!("{:.1} s, {} bytes{files}", summary.media_duration.as_secs_f64(), summary.written_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_openssl_and_sha256sum_print_it() {
        let digits = "00ff".repeat(16);
        let mut expected = [0; 32];
        expected.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = 0xff);
        assert_eq!(parse_sha256(&digits), Ok(expected));
        assert_eq!(parse_sha256(&"00:FF:".repeat(16)), Ok(expected));
        for wrong in ["", "00", &digits[1..], &format!("{digits}0"), &digits.replace('f', "g")] {
            assert!(parse_sha256(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strict_is_content_with_a_whole_recording_only_and_says_what_is_missing() {
        let whole_one = PlaySummary { reconnects: 1, skipped_groups: 1, ..PlaySummary::default() };
        assert!(whole(&whole_one).is_ok());
        let holed = PlaySummary { holes: 1, missing: Duration::from_millis(8_700), ..PlaySummary::default() };
        let error = whole(&holed).unwrap_err();
        assert_eq!(error.to_string(), "cannot play: media is missing: 8.7 s in 1 hole");
        assert_eq!(error.exit_code(), std::process::ExitCode::from(1));
        assert_eq!(summary_json(&holed)["missing_ms"], 8_700);
    }

    #[test]
    fn parts_are_numbered_before_the_extension() {
        let path = |output: &str, part| part_path(Path::new(output), part).display().to_string();
        assert_eq!(path("a/out.mp4", 1), "a/out.mp4");
        assert_eq!(path("a/out.mp4", 2), "a/out-2.mp4");
        assert_eq!(path("out", 3), "out-3");
    }
}
