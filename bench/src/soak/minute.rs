//! What is seen of the engine each minute.

use serde_json::{Value, json};
use streams_contract::Counter;
use streams_harness::Engine;

use super::audience::Audience;
use crate::error::BenchError;
use crate::process::{descriptors, memory};
use crate::publisher::Publisher;

/// One look.
#[derive(Debug, Clone)]
pub struct Minute {
    /// The engine's resident memory.
    pub rss_kib: u64,
    /// Its open descriptors.
    pub descriptors: usize,
    /// Access units it took.
    pub units: u64,
    /// Access units that its normaliser dropped.
    pub units_dropped: u64,
    /// Access units that were sent.
    sent: u64,
    sessions: u64,
    cache_bytes: u64,
    groups_dropped: u64,
    /// Viewers that have come so far, and of those the ones that saw something wrong.
    came: u64,
    wrong: u64,
}

impl Minute {
    /// Looks.
    ///
    /// # Errors
    /// [`BenchError::File`] when the engine is gone.
    pub fn read(engine: &Engine, publishers: &[Publisher], audience: &Audience) -> Result<Self, BenchError> {
        let sum = |counter| Ok::<u64, BenchError>(engine.counter(counter)?.iter().sum());
        let tally = audience.tally();
        Ok(Self {
            rss_kib: memory(engine.pid())?.rss_kib,
            descriptors: descriptors(engine.pid())?,
            units: sum(Counter::IngestUnits)?,
            units_dropped: sum(Counter::IngestUnitsDropped)?,
            sent: publishers.iter().map(Publisher::units).sum(),
            sessions: sum(Counter::SessionsOpen)?,
            cache_bytes: sum(Counter::CacheBytes)?,
            groups_dropped: sum(Counter::GroupsDropped)?,
            came: tally.came,
            wrong: tally.wrong(),
        })
    }

    /// One line.
    pub fn json(&self, minute: u64) -> Value {
        json!({
            "minute": minute,
            "rss_kib": self.rss_kib,
            "descriptors": self.descriptors,
            "units_sent": self.sent,
            "units_taken": self.units,
            "units_dropped": self.units_dropped,
            "sessions_open": self.sessions,
            "cache_bytes": self.cache_bytes,
            "groups_dropped": self.groups_dropped,
            "viewers_came": self.came,
            "viewers_wrong": self.wrong,
        })
    }
}

/// Growth of the resident memory by least squares, KiB an hour.
pub fn slope_kib_an_hour(minutes: &[Minute]) -> f64 {
    let count = minutes.len() as f64;
    let mean = |of: &dyn Fn(usize, &Minute) -> f64| {
        minutes.iter().enumerate().map(|(index, minute)| of(index, minute)).sum::<f64>() / count.max(1.0)
    };
    let middle = mean(&|index, _| index as f64);
    let level = mean(&|_, minute| minute.rss_kib as f64);
    let above = mean(&|index, minute| (index as f64 - middle) * (minute.rss_kib as f64 - level));
    let spread = mean(&|index, _| (index as f64 - middle).powi(2));
    if spread > 0.0 { above / spread * 60.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(rss_kib: u64) -> Minute {
        Minute {
            rss_kib,
            descriptors: 0,
            units: 0,
            units_dropped: 0,
            sent: 0,
            sessions: 0,
            cache_bytes: 0,
            groups_dropped: 0,
            came: 0,
            wrong: 0,
        }
    }

    #[test]
    fn two_kib_a_minute_are_120_an_hour() {
        let minutes: Vec<_> = (0..10).map(|index| minute(1_000 + 2 * index)).collect();
        assert!((slope_kib_an_hour(&minutes) - 120.0).abs() < 1e-6);
        assert_eq!(slope_kib_an_hour(&minutes[..1]), 0.0);
    }
}
