//! `streams-bench`: the figures of a stack, measured from outside as encoders and viewers would, and of its parts.
//!
//! ```text
//!   latency     publisher (here) -- RTMP --> engine -- MoQT --> viewers (here) on another shard     ms a frame
//!   join        publisher (here) -- RTMP --> engine -- MoQT --> viewer after viewer (here)          ms to the first picture
//!   viewers     ffmpeg ------------ RTMP --> engine -- MoQT --> hundreds of viewers (here)          KiB and CPU a viewer
//!   ingest      publishers (here) - RTMP --> engine                                                 CPU a Mbit, an access unit
//!   idle                                     engine                                                 CPU a shard
//!   relay-load  publisher (here) -- MoQT --> any relay - MoQT --> viewers (here)                    CPU a viewer, ms an object
//!   fanout      publisher (here) -- MoQT --> engine, one shard -- udp, xdp --> viewers (here)       CPU a packet, ms an object
//!               one track (here) ----------> one shard (here) --- memory ----> viewers (here)       ns a packet by stage
//!   soak        publishers (here) - RTMP --> engine -- MoQT --> viewers that come and go (here)     RSS, descriptors over hours
//!   abuse       encoder, viewers (here) - RTMP, MoQT --> engine <-- one abuse after the other (here)    who notices
//!   rings       writer (here) -------------- a link --------------> reader (here)                   ns a frag
//! ```
//!
//! Every measurement checks that it measured what it says; when it did not, the program ends with 1.

mod abuse;
mod allocations;
mod cores;
mod error;
mod fanout;
mod film;
mod group;
mod idle;
mod ingest;
mod join;
mod latency;
mod machine;
mod process;
mod publisher;
mod relay_load;
mod report;
mod rings;
mod soak;
mod srt_publisher;
mod stack;
mod viewers;
mod viewing;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::BenchError;
use crate::machine::Machine;
use crate::report::Report;

/// Measures a stack: one that runs (--data) or one of its own (--start); fanout and rings bring their own
#[derive(Debug, Parser)]
#[command(name = "streams-bench", version, disable_help_subcommand = true)]
struct Cli {
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Abuse(abuse::AbuseArgs),
    Latency(latency::LatencyArgs),
    Viewers(viewers::ViewersArgs),
    Idle(idle::IdleArgs),
    RelayLoad(relay_load::RelayLoadArgs),
    Fanout(fanout::FanoutArgs),
    Join(join::JoinArgs),
    Ingest(ingest::IngestArgs),
    Rings(rings::RingsArgs),
    Soak(soak::SoakArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let machine = Machine::read();
    match measure(&cli.bench) {
        Ok(report) => tell(&report, &machine, cli.json),
        Err(error) => {
            eprintln!("streams-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(bench: &Bench) -> Result<Report, BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::file("start", "the asynchronous runtime".as_ref()))?;
    runtime.block_on(async {
        let measured = async {
            match bench {
                Bench::Abuse(args) => abuse::run(args).await,
                Bench::Latency(args) => latency::run(args).await,
                Bench::Viewers(args) => viewers::run(args).await,
                Bench::Idle(args) => idle::run(args).await,
                Bench::RelayLoad(args) => relay_load::run(args).await,
                Bench::Fanout(args) => fanout::run(args).await,
                Bench::Join(args) => join::run(args).await,
                Bench::Ingest(args) => ingest::run(args).await,
                Bench::Rings(args) => rings::run(args).await,
                Bench::Soak(args) => soak::run(args).await,
            }
        };
        // Whatever was started is ended when the measurement is dropped.
        tokio::select! {
            measured = measured => measured,
            stopped = stopped() => stopped.and(Err(BenchError::Interrupted)),
        }
    })
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> Result<(), BenchError> {
    let on = |kind| signal(kind).map_err(BenchError::file("listen for", "signals".as_ref()));
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

fn tell(report: &Report, machine: &Machine, json: bool) -> ExitCode {
    let text = if json { format!("{:#}\n", report.json(machine)) } else { report.table(machine) };
    // A reader that went away does not change the outcome.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for failure in report.failures() {
        eprintln!("streams-bench: {failure}");
    }
    if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
