//! Many native viewers of one broadcast: what they get, and what they cost the engine.
//!
//! ```text
//!   viewers   0 |______/‾‾‾‾‾ half ‾‾‾‾‾‾\______/‾‾‾‾‾‾‾‾‾‾‾‾ all ‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾|
//!             alone  join   settle, window   join   settle, window, rest of --seconds
//! ```
//!
//! Memory is compared between the two windows, which lie equally long behind their joins.

mod check;
mod cost;
mod crowd;
mod ledger;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use streams_harness::{Owned, Signal};
use streams_sdk::SessionUrl;
use tokio::time::sleep;

use self::check::examples;
use self::cost::{Cost, slope};
use self::crowd::Crowd;
use crate::error::BenchError;
use crate::film::{self, Film};
use crate::report::{Report, Times};
use crate::stack::{Input, Stack, StackArgs};
use crate::viewing::Broadcast;

pub use self::check::{Faults, check};
pub use self::crowd::{Watched, watch_for};

/// How long the broadcast runs before anybody watches: the group caches reach their age limit.
const ALONE: Duration = Duration::from_secs(10);
/// From the last join to the window.
const SETTLE: Duration = Duration::from_secs(5);
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(8);
/// ffmpeg ends at once when asked.
const FFMPEG_STOP_MAX: Duration = Duration::from_secs(3);
/// Media comes many times a second; a viewer that got none for longer no longer watches.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Different reasons of failed viewers that are told.
const REASONS_MAX: usize = 5;

/// Lets many native viewers watch; checks what they get and measures what they cost
#[derive(Debug, clap::Args)]
pub struct ViewersArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Viewers in the end
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    count: u32,
    /// How long all of them watch
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(15..))]
    seconds: u64,
    /// Each half of them joins one by one over this time
    #[arg(long, default_value_t = 10, value_name = "S")]
    join_seconds: u64,
    /// H.264 in a container that ffmpeg reads, a key frame every 2 s [default: the sample film, encoded so]
    #[arg(long, value_name = "FILE")]
    film: Option<PathBuf>,
}

/// Cost over the run.
struct Costs {
    alone: Cost,
    half: Cost,
    all: Cost,
    rest: Cost,
}

/// Runs the measurement.
///
/// # Errors
/// Whatever keeps it from being made. What viewers did not get is a failure in the report.
pub async fn run(args: &ViewersArgs) -> Result<Report, BenchError> {
    let path = film::file(args.film.as_deref())?;
    let film = Film::read(&path)?;
    let stack = Stack::open(&args.stack)?;
    let input = stack.live_input("bench-viewers")?;
    let measured = async {
        let mut encoder = push(&path, &input)?;
        stack.engine().wait_on_air(&input.id).await?;
        let url = SessionUrl::playback(&stack.moqt_url(&input)?)?;
        let mut crowd = Crowd::new(Broadcast { url, trust: stack.trust()? });
        let costs = watch(args, &stack, &mut crowd).await?;
        let (watched, failed) = crowd.leave().await;
        let mut report = report(args, &stack, &costs, &film, &watched);
        tell_failed(&mut report, &failed);
        if let Some(status) = encoder.ended() {
            report.failure(format!("ffmpeg ended during the measurement ({status})"));
        }
        ends(&mut report, &watched);
        join_times(&mut report, &watched)?;
        Ok(report)
    };
    let measured = measured.await;
    stack.tell_complaints(&measured);
    stack.delete(&input)?;
    measured
}

async fn watch(args: &ViewersArgs, stack: &Stack, crowd: &mut Crowd) -> Result<Costs, BenchError> {
    let (engine, joining) = (stack.engine(), Duration::from_secs(args.join_seconds));
    let count = args.count as usize;
    let half = count / 2;
    sleep(ALONE).await;
    let alone = Cost::measure(engine, 0, WINDOW).await?;
    crowd.join(half, joining).await;
    sleep(SETTLE).await;
    let half = Cost::measure(engine, half, WINDOW).await?;
    crowd.join(count - count / 2, joining).await;
    sleep(SETTLE).await;
    let all = Cost::measure(engine, count, WINDOW).await?;
    let rest = Duration::from_secs(args.seconds).saturating_sub(SETTLE + WINDOW);
    let rest = Cost::measure(engine, count, rest).await?;
    Ok(Costs { alone, half, all, rest })
}

fn report(args: &ViewersArgs, stack: &Stack, costs: &Costs, film: &Film, watched: &[Watched]) -> Report {
    let Costs { alone, half, all, rest } = costs;
    let count = args.count;
    let mut report = Report::new("viewers: many native viewers of one broadcast");
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    report.row("viewers", count, "viewers", format!("{count}, all of them for {} s", args.seconds));
    report.value("seconds", args.seconds);
    report.row("cost_alone", alone.json(), "nobody watches", alone.shown());
    report.row("cost_half", half.json(), &format!("{} viewers", half.viewers), half.shown());
    report.row("cost_all", all.json(), &format!("{} viewers", all.viewers), all.shown());
    report.row("cost_rest", rest.json(), &format!("{} viewers, later", rest.viewers), rest.shown());

    let rss = slope(half, all, |cost| cost.memory.rss_kib as f64);
    let anon = slope(half, all, |cost| cost.memory.anon_kib as f64);
    let shown = format!("{rss:.1} KiB a viewer from {} to {} (anon {anon:.1})", half.viewers, all.viewers);
    report.row("rss_slope_kib", rss, "RSS slope", shown);
    report.value("anon_slope_kib", anon);
    let cpu = slope(alone, rest, |cost| cost.engine_percent);
    let client = slope(alone, rest, |cost| cost.client_percent);
    let shown = format!("{cpu:.3} % of a core a viewer; a viewer itself {client:.3} %");
    report.row("engine_percent_a_viewer", cpu, "engine CPU", shown);
    report.value("client_percent_a_viewer", client);
    report.silence([alone, half, all, rest].into_iter().map(|cost| cost.silence).max().unwrap_or_default());
    tracks(&mut report, film, watched);
    report
}

fn tracks(report: &mut Report, film: &Film, watched: &[Watched]) {
    let has_audio = watched.iter().any(|one| !one.audio.groups.is_empty());
    let video: Vec<_> = watched.iter().map(|one| &one.video).collect();
    let audio: Vec<_> = watched.iter().map(|one| &one.audio).collect();
    for (name, ledgers, film) in [("video", video, film.group_lens()), ("audio", audio, Vec::new())] {
        if name == "audio" && !has_audio {
            continue;
        }
        let faults = check(&ledgers, &film);
        let viewers = ledgers.len().max(1) as f64;
        let groups = ledgers.iter().map(|ledger| ledger.groups.len()).sum::<usize>() as f64 / viewers;
        let objects = ledgers.iter().map(|ledger| ledger.objects()).sum::<u64>() as f64 / viewers;
        let shown = format!("{groups:.1} groups, {objects:.1} objects a viewer; {}", faults.words());
        let value = json!({ "groups_a_viewer": groups, "objects_a_viewer": objects, "faults": faults_json(&faults) });
        report.row(name, value, name, shown);
        if !faults.none() {
            report.failure(format!("{name}: {}", faults.words()));
            examples(&ledgers).into_iter().for_each(|example| report.failure(format!("{name}: {example}")));
        }
    }
}

fn faults_json(faults: &Faults) -> serde_json::Value {
    json!({
        "groups_missing": faults.groups_missing,
        "objects_missing": faults.objects_missing,
        "objects_repeated": faults.objects_repeated,
        "groups_cut": faults.groups_cut,
        "joins_wrong": faults.joins_wrong,
        "viewers_behind": faults.viewers_behind,
        "groups_unlike_film": faults.groups_unlike_film,
    })
}

/// A broadcast that stopped for everybody leaves no hole that one viewer could show another.
fn ends(report: &mut Report, watched: &[Watched]) {
    let idle = watched.iter().filter(|one| one.idle > IDLE_MAX).count();
    if idle > 0 {
        report
            .failure(format!("{idle} viewers had got nothing for {} s when the measurement ended", IDLE_MAX.as_secs()));
    }
}

fn join_times(report: &mut Report, watched: &[Watched]) -> Result<(), BenchError> {
    let mut joins = Times::new()?;
    watched.iter().filter_map(|one| one.join).for_each(|join| joins.record(join));
    report.row("join", joins.json(), "connect to first object", joins.shown());
    Ok(())
}

fn tell_failed(report: &mut Report, failed: &[BenchError]) {
    report.value("viewers_failed", failed.len());
    let mut reasons: Vec<String> = failed.iter().map(ToString::to_string).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.truncate(REASONS_MAX);
    if !failed.is_empty() {
        report.failure(format!("{} viewers failed: {}", failed.len(), reasons.join("; ")));
    }
}

/// ffmpeg as the encoder: the film in real time, over and over, nothing encoded anew.
fn push(film: &Path, input: &Input) -> Result<Owned, BenchError> {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"])
        .arg(film)
        .args(["-c", "copy", "-f", "flv"])
        .arg(input.rtmp_with_key())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| BenchError::Command { command: "ffmpeg".to_owned(), reason: error.to_string() })?;
    Ok(Owned::asked_to_end(child, Signal::INT, FFMPEG_STOP_MAX))
}
