//! Encoders that go on for hours and viewers that come and go: what leaks, and what breaks at the edges of RTMP's clock.
//!
//! ```text
//!   publisher, from 0 ms            -- RTMP --> engine --> a third of the viewers, each for some tens of seconds, then anew
//!   publisher, from 2^24 ms - 60 s                         the timestamp passes the three bytes of a chunk header
//!   publisher, from 2^32 ms - 60 s                         the timestamp passes the four bytes of RTMP's clock
//! ```

mod audience;
mod minute;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use streams_sdk::SessionUrl;
use tokio::time::{Instant, sleep_until};

use self::audience::Audience;
use self::minute::{Minute, slope_kib_an_hour};
use crate::error::BenchError;
use crate::film::{self, Film};
use crate::publisher::{Publisher, Speed};
use crate::report::Report;
use crate::stack::{Input, Stack, StackArgs};
use crate::viewing::Broadcast;

/// How long before an edge of the clock a publisher begins.
const BEFORE_EDGE_MS: u64 = 60_000;
/// Where the publishers' timestamps begin: at 0, before the 24 bits of a chunk header, before the 32 bits of the clock.
const FIRST_MS: [u64; 3] = [0, (1 << 24) - BEFORE_EDGE_MS, (1 << 32) - BEFORE_EDGE_MS];
/// Minutes until caches and pools have the size that they keep; the slope is taken after them.
const WARM_UP_MINUTES: usize = 5;
/// How long viewers may take to get the first tracks after the publishers began.
const MINUTE: Duration = Duration::from_secs(60);

/// Three encoders and viewers that come and go, for hours; measures what grows
#[derive(Debug, clap::Args)]
pub struct SoakArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Viewers at any time
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=5_000))]
    viewers: u32,
    /// How long
    #[arg(long, default_value_t = 90, value_name = "M", value_parser = clap::value_parser!(u64).range(2..=100_000))]
    minutes: u64,
    /// H.264 in a container that ffmpeg reads, a key frame every 2 s [default: the sample film, encoded so]
    #[arg(long, value_name = "FILE")]
    film: Option<PathBuf>,
}

/// Runs the measurement. Prints a line of JSON to standard error each minute, so that an end half-way leaves what was seen.
///
/// # Errors
/// Whatever keeps it from being made. What viewers did not get is a failure in the report.
pub async fn run(args: &SoakArgs) -> Result<Report, BenchError> {
    let film = Arc::new(Film::read(&film::file(args.film.as_deref())?)?);
    let stack = Stack::open(&args.stack)?;
    let mut inputs = Vec::new();
    for first_ms in FIRST_MS {
        inputs.push(stack.live_input(&format!("bench-soak-{first_ms}"))?);
    }
    let measured = measure(args, &film, &stack, &inputs).await;
    stack.tell_complaints(&measured);
    for input in &inputs {
        stack.delete(input)?;
    }
    measured
}

async fn measure(args: &SoakArgs, film: &Arc<Film>, stack: &Stack, inputs: &[Input]) -> Result<Report, BenchError> {
    let (mut publishers, mut broadcasts) = (Vec::new(), Vec::new());
    for (input, first_ms) in inputs.iter().zip(FIRST_MS) {
        publishers.push(Publisher::start_at(input, Arc::clone(film), Speed::Times(1.0), first_ms).await?);
        stack.engine().wait_on_air(&input.id).await?;
        broadcasts.push((input.clone(), stack.trust()?));
    }
    let url_of = |input: &Input| Ok::<_, BenchError>(SessionUrl::playback(&stack.moqt_url(input)?)?);
    let mut audience = Audience::new(film.group_lens(), args.viewers);
    let began = Instant::now();
    let mut minutes = Vec::new();
    for minute in 0..args.minutes {
        // Tokens last an hour; those who come later need later ones.
        let fresh: Result<Vec<_>, BenchError> = broadcasts
            .iter()
            .map(|(input, trust)| Ok(Broadcast { url: url_of(input)?, trust: trust.clone() }))
            .collect();
        audience.offer(fresh?);
        let end = began + MINUTE * u32::try_from(minute + 1).unwrap_or(u32::MAX);
        while Instant::now() < end {
            audience.fill();
            tokio::select! {
                () = sleep_until(end) => {}
                () = audience.someone_left() => {}
            }
        }
        let seen = Minute::read(stack.engine(), &publishers, &audience)?;
        eprintln!("{}", seen.json(minute + 1));
        minutes.push(seen);
    }
    audience.leave().await;
    let mut report = Report::new("soak: encoders for hours, viewers that come and go");
    tell(&mut report, args, &minutes, &audience);
    for (publisher, first_ms) in publishers.into_iter().zip(FIRST_MS) {
        if let Err(error) = publisher.finish() {
            report.failure(format!("the publisher that began at {first_ms} ms broke: {error}"));
        }
    }
    Ok(report)
}

fn tell(report: &mut Report, args: &SoakArgs, minutes: &[Minute], audience: &Audience) {
    let workload = format!("3 publishers, {} viewers at any time, {} minutes", args.viewers, args.minutes);
    report.row("minutes", args.minutes, "workload", workload);
    let settled = minutes.get(WARM_UP_MINUTES.min(minutes.len() / 2)..).unwrap_or_default();
    if let (Some(first), Some(last)) = (settled.first(), settled.last()) {
        let slope = slope_kib_an_hour(settled);
        let shown = format!("{} -> {} KiB, {slope:.0} KiB an hour", first.rss_kib, last.rss_kib);
        let value = json!({ "first_kib": first.rss_kib, "last_kib": last.rss_kib, "slope_kib_an_hour": slope });
        report.row("rss", value, "engine RSS", shown);
        let shown = format!("{} -> {}", first.descriptors, last.descriptors);
        report.row("descriptors", json!([first.descriptors, last.descriptors]), "descriptors", shown);
        let shown = format!("{} taken, {} dropped", last.units, last.units_dropped);
        report.row("units", json!([last.units, last.units_dropped]), "access units", shown);
        if last.units_dropped > 0 {
            report.failure(format!("the engine dropped {} access units of good encoders", last.units_dropped));
        }
    }
    let tally = audience.tally();
    report.row("viewers", tally.json(), "viewers", tally.words());
    for failure in tally.failures() {
        report.failure(failure);
    }
}
