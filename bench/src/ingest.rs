//! What encoders cost the engine: publishers in parallel, in real time, faster, or as fast as they are taken.
//!
//! ```text
//!   K publishers (here) -- RTMP --> shards: RTMP -> time line -> CMAF -> relay's cache       nobody watches
//! ```
//!
//! The engine's counters say what it took in the window, and in the end they have to name every access unit that was sent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use streams_contract::Counter;
use tokio::time::sleep;

use crate::error::BenchError;
use crate::film::{self, Film};
use crate::process::{CpuTime, cpu_times};
use crate::publisher::{Publisher, Speed};
use crate::report::Report;
use crate::stack::{Input, Stack, StackArgs};

/// From the last publisher's start to the window.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after the last message the engine may still count.
const COUNT_MAX: Duration = Duration::from_secs(30);
/// How often its counters are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Publishes one film many times at once; measures what that costs the engine
#[derive(Debug, clap::Args)]
pub struct IngestArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Publishers, each with an input of its own
    #[arg(long, default_value_t = 10, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=500))]
    publishers: u32,
    /// How many times faster than real time they send; `max` is as fast as they are taken
    #[arg(long, default_value = "1", value_name = "TIMES")]
    speed: Speed,
    /// Length of the window
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// H.264 in a container that ffmpeg reads, a key frame every 2 s [default: the sample film, encoded so]
    #[arg(long, value_name = "FILE")]
    film: Option<PathBuf>,
}

/// What the engine has taken and used up to one moment.
#[derive(Debug, Clone, Copy)]
struct Taken {
    at: Instant,
    cpu: CpuTime,
    load: CpuTime,
    units: u64,
    dropped: u64,
    bytes: u64,
}

impl Taken {
    fn now(stack: &Stack) -> Result<Self, BenchError> {
        let engine = stack.engine();
        let sum = |counter| Ok::<u64, BenchError>(engine.counter(counter)?.iter().sum());
        Ok(Self {
            at: Instant::now(),
            cpu: cpu_times(engine.pid())?,
            load: cpu_times(std::process::id())?,
            units: sum(Counter::IngestUnits)?,
            dropped: sum(Counter::IngestUnitsDropped)?,
            bytes: sum(Counter::IngestBytes)?,
        })
    }
}

/// Runs the measurement.
///
/// # Errors
/// Whatever keeps it from being made. Access units that the engine did not count are a failure in the report.
pub async fn run(args: &IngestArgs) -> Result<Report, BenchError> {
    let film = Arc::new(Film::read(&film::file(args.film.as_deref())?)?);
    let stack = Stack::open(&args.stack)?;
    let mut inputs = Vec::new();
    for index in 0..args.publishers {
        inputs.push(stack.live_input(&format!("bench-ingest-{index}"))?);
    }
    let measured = measure(args, &film, &stack, &inputs).await;
    stack.tell_complaints(&measured);
    for input in &inputs {
        stack.delete(input)?;
    }
    measured
}

async fn measure(args: &IngestArgs, film: &Arc<Film>, stack: &Stack, inputs: &[Input]) -> Result<Report, BenchError> {
    let began = Taken::now(stack)?;
    let mut publishers = Vec::new();
    for input in inputs {
        publishers.push(Publisher::start(input, Arc::clone(film), args.speed).await?);
    }
    sleep(SETTLE).await;
    let before = Taken::now(stack)?;
    let silence = stack.engine().listen(Duration::from_secs(args.seconds)).await?;
    let after = Taken::now(stack)?;
    publishers.iter().for_each(Publisher::stop_sending);
    // The engine counts what is still on its way; the connections have to stay for that.
    let deadline = Instant::now() + COUNT_MAX;
    let (sent, last) = loop {
        let sent: u64 = publishers.iter().map(Publisher::units).sum();
        let still = Taken::now(stack)?;
        let counted = (still.units + still.dropped).saturating_sub(began.units + began.dropped);
        if (counted >= sent && publishers.iter().all(Publisher::is_silent)) || Instant::now() > deadline {
            break (sent, still);
        }
        sleep(LOOK).await;
    };
    for publisher in publishers {
        publisher.finish()?;
    }
    let mut report = Report::new("ingest: many encoders at once");
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    figures(&mut report, args, &before, &after);
    report.silence(silence);
    let (units, dropped) = (last.units - began.units, last.dropped - began.dropped);
    let shown = format!("{sent} access units sent, {units} taken, {dropped} dropped");
    report.row("verified", json!({ "sent": sent, "taken": units, "dropped": dropped }), "verified", shown);
    if units != sent {
        report.failure(format!("{sent} access units were sent and the engine took {units}"));
    }
    Ok(report)
}

fn figures(report: &mut Report, args: &IngestArgs, before: &Taken, after: &Taken) {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let (cpu, load) = (after.cpu.since(before.cpu), after.load.since(before.load));
    let (units, bytes) = (after.units - before.units, after.bytes - before.bytes);
    let mbit = bytes as f64 * 8.0 / 1e6;
    let IngestArgs { publishers, speed, .. } = args;
    let shown = format!(
        "{publishers} publishers at {speed}: {:.1} Mbit/s, {:.0} access units a second",
        mbit / seconds,
        units as f64 / seconds
    );
    let workload = json!({
        "publishers": publishers, "speed": speed.to_string(), "seconds": seconds, "mbit_s": mbit / seconds,
        "units_s": units as f64 / seconds,
    });
    report.row("workload", workload, "workload", shown);
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
    let [total, user, kernel] = [cpu.total(), cpu.user, cpu.kernel].map(percent);
    let shown = format!("{total:.1} % of a core: user {user:.1}, kernel {kernel:.1}");
    report.row("engine", json!({ "percent": total, "user_percent": user, "kernel_percent": kernel }), "engine", shown);
    let us = cpu.total().as_secs_f64() * 1e6;
    let (a_mbit, a_unit) = (us / mbit.max(f64::MIN_POSITIVE), us / (units.max(1)) as f64);
    report.row("us_a_mbit", a_mbit, "a Mbit", format!("{a_mbit:.0} us of the engine"));
    report.row("us_an_access_unit", a_unit, "an access unit", format!("{a_unit:.1} us of the engine"));
    report.row(
        "load_percent",
        percent(load.total()),
        "publishers",
        format!("{:.1} % of a core", percent(load.total())),
    );
}
