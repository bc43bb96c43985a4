//! What a frag costs on a link in shared memory: published alone, and carried to another core with and without credits.
//!
//! ```text
//!   publish            writer                                       no reader
//!   with credits       writer -- credits -- reader on another core  nothing is lost: the writer waits
//!   without credits    writer ------------- reader on another core  what the reader is too slow for is lost, and counted
//! ```
//!
//! `cargo bench -p streams-rings` is the same for who works on the rings; here the figures come with machine and build.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use serde_json::json;
use streams_rings::{Full, LinkReader, LinkWriter, Polled, Workspace, WorkspaceBuilder};

use crate::cores::{Pair, pin};
use crate::error::BenchError;
use crate::report::Report;

/// Deep enough that the cores do not wait for each other on every frag, small enough to stay in the second-level cache.
const DEPTH: usize = 4_096;
/// One received datagram in one frag.
const FRAG_LEN_MAX: usize = 2_048;
const DATA_LEN: usize = 8 << 20;
/// Payloads: none, a small message, a packet.
const LENS: [usize; 3] = [0, 64, 1_200];
/// Pauses of a reader that finds nothing: like a shard it turns to something else for a moment, instead of pulling every line
/// out of the writer's cache while it is being written.
const EMPTY_SPINS: u32 = 32;

/// Measures what a frag costs on a link in shared memory, with and without credits
#[derive(Debug, Clone, clap::Args)]
pub struct RingsArgs {
    /// Rounds of each figure; the median is told, with the least and the greatest
    #[arg(long, default_value_t = 51, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_001))]
    rounds: u32,
    /// Frags a round
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    frags: u64,
}

/// Runs the measurement on a thread of its own.
///
/// # Errors
/// No room for the link, or a frag that is not the one that was sent.
pub async fn run(args: &RingsArgs) -> Result<Report, BenchError> {
    let args = args.clone();
    let measured = tokio::task::spawn_blocking(move || measure(&args));
    measured.await.map_err(|_| BenchError::Died("measuring thread"))?
}

fn measure(args: &RingsArgs) -> Result<Report, BenchError> {
    let cores = Pair::find()?;
    // A thread of the runtime is lent; it is pinned for itself alone.
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            pin(cores.measured)?;
            figures(args, cores)
        });
        measuring.join().map_err(|_| BenchError::Died("measuring thread"))?
    })
}

fn figures(args: &RingsArgs, cores: Pair) -> Result<Report, BenchError> {
    let RingsArgs { rounds, frags } = *args;
    let Pair { measured: writer, load: reader } = cores;
    let mut report = Report::new("rings: a frag on a link in shared memory");
    let shown =
        format!("{rounds} rounds of {frags} frags, depth {DEPTH}, writer on core {writer}, reader on core {reader}");
    report.row("workload", json!({ "rounds": rounds, "frags": frags, "depth": DEPTH }), "workload", shown);
    if !cores.apart() {
        report.failure("there is one core only: what two cores cost cannot be measured");
    }
    for len in LENS {
        let told = Told { key: "publish", name: "published, no reader" };
        told.tell(&mut report, len, rounds, || publish(len, frags).map(Round::whole))?;
    }
    for len in LENS {
        let told = Told { key: "credits", name: "to another core, with credits" };
        told.tell(&mut report, len, rounds, || with_credits(len, frags, reader).map(Round::whole))?;
    }
    for len in LENS {
        let told = Told { key: "no_credits", name: "to another core, without credits" };
        told.tell(&mut report, len, rounds, || without_credits(len, frags, reader))?;
    }
    Ok(report)
}

/// One round.
struct Round {
    ns_a_frag: f64,
    /// Share of the frags that the reader got.
    read: f64,
}

impl Round {
    fn whole(ns_a_frag: f64) -> Self {
        Self { ns_a_frag, read: 1.0 }
    }
}

/// A row.
struct Told {
    key: &'static str,
    name: &'static str,
}

impl Told {
    fn tell(
        &self,
        report: &mut Report,
        len: usize,
        rounds: u32,
        mut round: impl FnMut() -> Result<Round, BenchError>,
    ) -> Result<(), BenchError> {
        let mut figures = Vec::new();
        let mut read = 0.0;
        for _ in 0..rounds {
            let round = round()?;
            figures.push(round.ns_a_frag);
            read += round.read / f64::from(rounds);
        }
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        let (min, median, max) = (at(0), at(figures.len() / 2), at(figures.len().saturating_sub(1)));
        let Self { key, name } = self;
        let mut shown = format!("{median:.2} ns a frag (min {min:.2}, max {max:.2})");
        if read < 1.0 {
            shown.push_str(&format!(", {:.1} % read, the rest counted as lost", 100.0 * read));
        }
        let value = json!({ "median_ns": median, "min_ns": min, "max_ns": max, "read_share": read });
        report.row(&format!("{key}_{len}"), value, &format!("{name}, {len} B"), shown);
        Ok(())
    }
}

fn workspace() -> Result<Workspace, BenchError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/streams-bench-rings-{}-{count}", std::process::id());
    let builder = WorkspaceBuilder::new("bench").link("link", DEPTH, DATA_LEN, FRAG_LEN_MAX).fseq("link");
    let workspace = builder.create(&path)?;
    // The mapping stays.
    std::fs::remove_file(&path).map_err(BenchError::file("remove", path.as_ref()))?;
    Ok(workspace)
}

fn ns_each(began: Instant, frags: u64) -> f64 {
    began.elapsed().as_nanos() as f64 / frags as f64
}

fn publish(len: usize, frags: u64) -> Result<f64, BenchError> {
    let (mut writer, payload) = (workspace()?.link_writer("link")?, vec![0x5a; len]);
    let (first, began) = (writer.seq(), Instant::now());
    for sig in 0..frags {
        writer.publish(sig, 0, &payload);
    }
    let figure = ns_each(began, frags);
    if writer.seq() != first + frags {
        return Err(BenchError::Protocol("a link does not count what was published"));
    }
    Ok(figure)
}

/// A flag that both threads look at, out of the cache lines of the writer's own fields.
fn apart() -> CachePadded<AtomicBool> {
    CachePadded::new(AtomicBool::new(false))
}

fn with_credits(len: usize, frags: u64, reader_core: usize) -> Result<f64, BenchError> {
    let workspace = workspace()?;
    let fseq = workspace.fseq("link")?;
    let mut writer = workspace.reliable_writer("link", std::slice::from_ref(&fseq))?;
    let mut reader = workspace.reliable_reader("link", fseq)?;
    let (ready, ended) = (apart(), apart());
    let (ready, ended): (&AtomicBool, &AtomicBool) = (&ready, &ended);
    std::thread::scope(|scope| {
        let read = scope.spawn(move || {
            let _ended = Raise(ended);
            let pinned = pin(reader_core);
            ready.store(true, Ordering::Release);
            pinned?;
            let (mut out, mut next) = (Vec::new(), 0);
            while next < frags {
                match reader.poll(&mut out) {
                    Polled::Message { sig, .. } if (sig, out.len()) == (next, len) => next += 1,
                    Polled::Empty => (0..EMPTY_SPINS).for_each(|_| std::hint::spin_loop()),
                    _ => return Err(BenchError::Protocol("a reader with credits got another frag than the next")),
                }
            }
            Ok(())
        });
        wait_for(ready);
        let (payload, began) = (vec![0x5a; len], Instant::now());
        for sig in 0..frags {
            while writer.try_publish(sig, 0, &payload) == Err(Full::NoCredit) && !ended.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
        let figure = ns_each(began, frags);
        read.join().map_err(|_| BenchError::Died("reader"))??;
        Ok(figure)
    })
}

/// Raises a flag when it drops, however its thread ended.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

fn without_credits(len: usize, frags: u64, reader_core: usize) -> Result<Round, BenchError> {
    let workspace = workspace()?;
    let mut writer: LinkWriter = workspace.link_writer("link")?;
    let mut reader: LinkReader = workspace.link_reader("link")?;
    let first = writer.seq();
    let (ready, done) = (apart(), apart());
    let (ready, done): (&AtomicBool, &AtomicBool) = (&ready, &done);
    std::thread::scope(|scope| {
        let seen = scope.spawn(move || {
            let pinned = pin(reader_core);
            ready.store(true, Ordering::Release);
            pinned?;
            let mut out = Vec::new();
            while !done.load(Ordering::Acquire) {
                reader.poll(|_| true, &mut out);
            }
            while reader.poll(|_| true, &mut out) != Polled::Empty {}
            Ok::<_, BenchError>((reader.stats(), reader.seq()))
        });
        wait_for(ready);
        let (payload, began) = (vec![0x5a; len], Instant::now());
        for sig in 0..frags {
            writer.publish(sig, 0, &payload);
        }
        let ns_a_frag = ns_each(began, frags);
        done.store(true, Ordering::Release);
        let (stats, seq) = seen.join().map_err(|_| BenchError::Died("reader"))??;
        if seq != first + frags || stats.messages + stats.lost_frags != frags {
            return Err(BenchError::Protocol("a frag was neither read nor counted as lost"));
        }
        Ok(Round { ns_a_frag, read: stats.messages as f64 / frags as f64 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_link_is_measured_and_nothing_is_unaccounted_for() {
        let report = measure(&RingsArgs { rounds: 1, frags: 20_000 }).unwrap();
        let json = report.json(&crate::machine::Machine::read());
        for key in ["publish", "credits", "no_credits"] {
            for len in LENS {
                assert!(json["result"][format!("{key}_{len}")]["median_ns"].as_f64().unwrap() > 0.0, "{json}");
            }
        }
        assert_eq!(json["result"]["credits_1200"]["read_share"], 1.0);
    }
}
