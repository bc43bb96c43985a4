//! `streams monitor`: what the engine does, from shared memory alone.
//!
//! ```text
//!  shards.<gen>, control.<gen> (mapped read-only) ──▶ Watcher ──▶ Sample ─┐ two of them
//!                                                                         ├──▶ Report ──▶ screen, text or JSON
//!                                                          Sample ────────┘
//! ```
//!
//! No API is asked and nothing is written, so it works while control is dead and costs the shards nothing. A restarted engine
//! has a new generation of its workspace; the watcher joins that by itself.

mod columns;
mod json;
mod numbers;
mod report;
mod sample;
mod screen;
mod text;
mod view;
mod watcher;

#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use streams_contract::Counter;

use self::report::{Health, Report};
use self::watcher::Watcher;
use crate::Error;
use crate::cli::{Output, parse_duration};
use crate::datadir::DataDir;

/// Shards publish their counters every 50 ms: between two looks there has to be more than one of them.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// A screen that stands still for longer shows the past.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Shards of an engine that drive their AF_XDP queue by busy polling, and all of its shards. `None`: there was never an engine.
pub fn polled_queues(run_dir: &Path) -> Option<(usize, usize)> {
    let sample = Watcher::new(run_dir).sample()?;
    let polled = sample.shards.iter().filter(|shard| shard.get(Counter::XdpBusyPoll) > 0).count();
    Some((polled, sample.shards.len()))
}

/// Flags of `streams monitor`.
#[derive(Debug, clap::Args)]
pub struct MonitorArgs {
    /// Print one sample and end
    #[arg(long)]
    once: bool,
    /// Time between two samples, which rates are taken over
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        return Ok(interval);
    }
    Err("write a time from 100ms to 60s".to_owned())
}

/// Runs the command.
pub fn run(dir: &DataDir, args: &MonitorArgs, output: &Output) -> Result<(), Error> {
    let mut watcher = Watcher::new(&dir.run_dir());
    if args.once {
        let report = once(dir, &mut watcher, args.interval)?;
        return output.show(&json::report(&report, dir.root()), || text::report(&report, dir.root()));
    }
    if output.is_json() || !stdout().is_terminal() {
        let usage = "the full screen needs a terminal; add --once for one sample as text, --once --json for programs";
        return Err(Error::Usage(usage.to_owned()));
    }
    screen::run(dir.root(), watcher, args.interval)
}

/// A report over one interval. An engine that restarts meanwhile is looked at anew.
fn once(dir: &DataDir, watcher: &mut Watcher, interval: Duration) -> Result<Report, Error> {
    let no_engine = |reason: String| Error::NoEngine { data: dir.root().to_owned(), reason };
    loop {
        let before = watcher.sample().ok_or_else(|| no_engine("none was started here".to_owned()))?;
        if let Some(reason) = Health::of(&before).gone() {
            return Err(no_engine(reason));
        }
        std::thread::sleep(interval);
        let after = watcher.sample().ok_or_else(|| no_engine("it has just ended".to_owned()))?;
        if after.generation != before.generation {
            continue;
        }
        let report = Report::between(Some(&before), &after);
        return match report.health.gone() {
            Some(reason) => Err(no_engine(reason)),
            None => Ok(report),
        };
    }
}
