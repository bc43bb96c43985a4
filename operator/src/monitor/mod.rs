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
pub mod json;
mod numbers;
mod report;
mod sample;
mod screen;
pub mod text;
mod view;
mod watcher;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use streams_contract::Counter;
use streams_control::datadir::DataDir;

use self::report::Health;
use self::watcher::Watcher;
use crate::Error;

pub use self::report::Report;

/// Shards publish their counters every 50 ms: between two looks there has to be more than one of them.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// A screen that stands still for longer shows the past.
pub const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Shards of an engine that drive their AF_XDP queue by busy polling, and all of its shards. `None`: there was never an engine.
pub fn polled_queues(run_dir: &Path) -> Option<(usize, usize)> {
    let sample = Watcher::new(run_dir).sample()?;
    let polled = sample.shards.iter().filter(|shard| shard.get(Counter::XdpBusyPoll) > 0).count();
    Some((polled, sample.shards.len()))
}

/// Shows the engine of a data directory on the whole terminal until the operator has seen enough.
pub fn full_screen(dir: &DataDir, interval: Duration) -> Result<(), Error> {
    screen::run(dir.root(), Watcher::new(&dir.run_dir()), interval)
}

/// A report over one interval. An engine that restarts meanwhile is looked at anew.
pub fn once(dir: &DataDir, interval: Duration) -> Result<Report, Error> {
    let mut watcher = Watcher::new(&dir.run_dir());
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
