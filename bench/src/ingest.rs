//! What encoders cost the engine: publishers in parallel, in real time, faster, or as fast as they are taken.
//!
//! ```text
//!   K publishers (here) -- RTMP --> shards: RTMP -> time line -> CMAF -> relay's cache       nobody watches
//!                       -- SRT ---> SRT -> MPEG-TS -> the same
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
use crate::srt_publisher::{SrtPublisher, Stream};
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
    /// Protocols, one after the other in the same run
    #[arg(long, default_value = "rtmp", value_name = "LIST", value_delimiter = ',', value_parser = ["rtmp", "srt"])]
    protocols: Vec<String>,
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
    let file = film::file(args.film.as_deref())?;
    let film = Arc::new(Film::read(&file)?);
    let stack = Stack::open(&args.stack)?;
    let mut report = Report::new("ingest: many encoders at once");
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    for protocol in &args.protocols {
        let began = Taken::now(&stack)?;
        let (crowd, inputs) = match protocol.as_str() {
            "srt" => srt_crowd(args, &stack, Arc::new(Stream::read(&file, film.duration_ms)?)),
            _ => rtmp_crowd(args, &stack, &film).await,
        }?;
        let measured = measure(args, protocol, &stack, crowd, began, &mut report).await.map(|()| Report::new(""));
        stack.tell_complaints(&measured);
        for input in &inputs {
            stack.delete(input)?;
        }
        measured?;
    }
    Ok(report)
}

/// All publishers of a run.
enum Crowd {
    Rtmp(Vec<Publisher>),
    Srt(Vec<SrtPublisher>),
}

impl Crowd {
    fn stop_sending(&self) {
        match self {
            Self::Rtmp(all) => all.iter().for_each(Publisher::stop_sending),
            Self::Srt(all) => all.iter().for_each(SrtPublisher::stop_sending),
        }
    }

    fn units(&self) -> u64 {
        match self {
            Self::Rtmp(all) => all.iter().map(Publisher::units).sum(),
            Self::Srt(all) => all.iter().map(SrtPublisher::units).sum(),
        }
    }

    fn is_silent(&self) -> bool {
        match self {
            Self::Rtmp(all) => all.iter().all(Publisher::is_silent),
            // What was given to SRT is counted, and waits for its time at the server.
            Self::Srt(_) => true,
        }
    }

    fn finish(self) -> Result<(), BenchError> {
        match self {
            Self::Rtmp(all) => all.into_iter().try_for_each(|publisher| publisher.finish().map(drop)),
            Self::Srt(all) => all.into_iter().try_for_each(SrtPublisher::finish),
        }
    }
}

async fn rtmp_crowd(args: &IngestArgs, stack: &Stack, film: &Arc<Film>) -> Result<(Crowd, Vec<Input>), BenchError> {
    let (mut publishers, mut inputs) = (Vec::new(), Vec::new());
    for index in 0..args.publishers {
        let input = stack.live_input(&format!("bench-ingest-{index}"))?;
        publishers.push(Publisher::start(&input, Arc::clone(film), args.speed).await?);
        inputs.push(input);
    }
    Ok((Crowd::Rtmp(publishers), inputs))
}

fn srt_crowd(args: &IngestArgs, stack: &Stack, stream: Arc<Stream>) -> Result<(Crowd, Vec<Input>), BenchError> {
    let (mut publishers, mut inputs) = (Vec::new(), Vec::new());
    for index in 0..args.publishers {
        let input = stack.srt_input(&format!("bench-ingest-srt-{index}"))?;
        publishers.push(SrtPublisher::start(&input, Arc::clone(&stream), args.speed)?);
        inputs.push(input.input);
    }
    Ok((Crowd::Srt(publishers), inputs))
}

async fn measure(
    args: &IngestArgs,
    protocol: &str,
    stack: &Stack,
    crowd: Crowd,
    began: Taken,
    report: &mut Report,
) -> Result<(), BenchError> {
    sleep(SETTLE).await;
    let before = Taken::now(stack)?;
    let silence = stack.engine().listen(Duration::from_secs(args.seconds)).await?;
    let after = Taken::now(stack)?;
    crowd.stop_sending();
    // The engine counts what is still on its way; the connections have to stay for that.
    let deadline = Instant::now() + COUNT_MAX;
    let (sent, last) = loop {
        let sent = crowd.units();
        let still = Taken::now(stack)?;
        let counted = (still.units + still.dropped).saturating_sub(began.units + began.dropped);
        if (counted >= sent && crowd.is_silent()) || Instant::now() > deadline {
            break (sent, still);
        }
        sleep(LOOK).await;
    };
    crowd.finish()?;
    report.row("protocol", protocol, "protocol", protocol.to_owned());
    figures(report, args, protocol, &before, &after);
    report.silence(silence);
    let (units, dropped) = (last.units - began.units, last.dropped - began.dropped);
    let shown = format!("{sent} access units sent, {units} taken, {dropped} dropped");
    report.row("verified", json!({ "sent": sent, "taken": units, "dropped": dropped }), "verified", shown);
    if units != sent {
        report.failure(format!("{sent} access units were sent and the engine took {units}"));
    }
    Ok(())
}

fn figures(report: &mut Report, args: &IngestArgs, protocol: &str, before: &Taken, after: &Taken) {
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
    let each = total / f64::from(*publishers);
    report.row(&format!("{protocol}_percent_an_input"), each, "an input", format!("{each:.2} % of a core"));
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
