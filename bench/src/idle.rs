//! What a shard costs when nobody publishes and nobody watches.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, json};
use tokio::time::{Instant, sleep};

use crate::error::BenchError;
use crate::process::threads;
use crate::report::Report;
use crate::stack::{Stack, StackArgs};

/// How long a fresh stack may still be busy with its start.
const SETTLE: Duration = Duration::from_secs(3);
/// Key of threads that are no shard's.
const OTHER: &str = "other threads";

/// Measures what each shard costs without traffic
#[derive(Debug, clap::Args)]
pub struct IdleArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// How long to measure
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Runs the measurement.
///
/// # Errors
/// Whatever keeps it from being made.
pub async fn run(args: &IdleArgs) -> Result<Report, BenchError> {
    let stack = Stack::open(&args.stack)?;
    let pid = stack.engine().pid();
    sleep(SETTLE).await;
    let began = Instant::now();
    let before = by_shard(pid)?;
    let silence = stack.engine().listen(Duration::from_secs(args.seconds)).await?;
    let after = by_shard(pid)?;
    let elapsed = began.elapsed();

    let mut report = Report::new("idle: engine without traffic");
    report.row("seconds", elapsed.as_secs_f64(), "measured", format!("{:.1} s", elapsed.as_secs_f64()));
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    let mut percents = Map::new();
    for (name, time) in &after {
        let used = time.saturating_sub(before.get(name).copied().unwrap_or_default());
        let percent = 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
        percents.insert(name.clone(), json!(percent));
        report.row(name, percent, name, format!("{percent:.2} % of a core"));
    }
    let shards: Vec<f64> = percents.iter().filter(|(name, _)| *name != OTHER).filter_map(|(_, p)| p.as_f64()).collect();
    let most = shards.iter().copied().fold(0.0, f64::max);
    report.row("shard_percent_max", most, "busiest shard", format!("{most:.2} % of a core"));
    report.silence(silence);
    if shards.len() != stack.engine().shards() {
        report.failure(format!(
            "{} shards run and {} threads of theirs were found",
            stack.engine().shards(),
            shards.len()
        ));
    }
    Ok(report)
}

/// Processor time by shard. A shard's thread is named `shard-N` and perhaps more.
fn by_shard(pid: u32) -> Result<BTreeMap<String, Duration>, BenchError> {
    let mut times = BTreeMap::new();
    for (_, name, time) in threads(pid)? {
        let shard = name.strip_prefix("shard-").and_then(|tail| tail.split('-').next()?.parse::<usize>().ok());
        let key = shard.map_or_else(|| OTHER.to_owned(), |shard| format!("shard-{shard}"));
        *times.entry(key).or_insert(Duration::ZERO) += time;
    }
    Ok(times)
}
