//! What engine, load and hypervisor used up to one moment.

use std::time::{Duration, Instant};

use streams_contract::Counter;
use streams_harness::Engine;

use crate::error::BenchError;
use crate::process::{CpuTime, cpu_times, machine_stolen, waited};

/// Readings of one moment.
#[derive(Debug, Clone)]
pub struct Usage {
    at: Instant,
    engine: CpuTime,
    softirq: Option<Duration>,
    load: CpuTime,
    waited: Duration,
    stolen: Duration,
    counters: Vec<u64>,
}

/// What lies between two moments.
#[derive(Debug, Clone)]
pub struct Used {
    /// How long it was.
    pub elapsed: Duration,
    /// The engine's processor time.
    pub engine: CpuTime,
    /// That of the kernel's network thread on the engine's core: work for the engine's packets that the kernel put off. `None`
    /// where it cannot be seen.
    pub softirq: Option<Duration>,
    /// Processor time of this process: publisher and viewers.
    pub load: CpuTime,
    /// How long the engine was ready to run and something else had its core.
    pub waited: Duration,
    /// Time that the hypervisor took from the machine, all cores together.
    pub stolen: Duration,
    counters: Vec<u64>,
}

impl Usage {
    /// Reads everything; `softirq` is the thread of the engine's core.
    ///
    /// # Errors
    /// [`BenchError::File`] when the engine is gone.
    pub fn now(engine: &Engine, softirq: Option<u32>) -> Result<Self, BenchError> {
        let sum = |counter: &Counter| Ok(engine.counter(*counter)?.iter().sum());
        let counters: Result<Vec<u64>, BenchError> = Counter::ALL.iter().map(sum).collect();
        Ok(Self {
            at: Instant::now(),
            engine: cpu_times(engine.pid())?,
            softirq: softirq.and_then(|thread| cpu_times(thread).ok()).map(CpuTime::total),
            load: cpu_times(std::process::id())?,
            waited: waited(engine.pid())?,
            stolen: machine_stolen()?,
            counters: counters?,
        })
    }

    /// What was used since.
    pub fn since(&self, before: &Self) -> Used {
        let counters = self.counters.iter().zip(&before.counters).map(|(now, before)| now.saturating_sub(*before));
        Used {
            elapsed: self.at.saturating_duration_since(before.at),
            engine: self.engine.since(before.engine),
            softirq: self.softirq.zip(before.softirq).map(|(now, before)| now.saturating_sub(before)),
            load: self.load.since(before.load),
            waited: self.waited.saturating_sub(before.waited),
            stolen: self.stolen.saturating_sub(before.stolen),
            counters: counters.collect(),
        }
    }
}

impl Used {
    /// How much a counter of the engine grew.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter.index()).copied().unwrap_or_default()
    }

    /// Percent of a core.
    pub fn percent(&self, time: Duration) -> f64 {
        100.0 * time.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Processor time that the engine's packets took: its own, and what the kernel put off.
    pub fn engine_total(&self) -> Duration {
        self.engine.total() + self.softirq.unwrap_or_default()
    }

    /// The same in the kernel alone.
    pub fn engine_kernel(&self) -> Duration {
        self.engine.kernel + self.softirq.unwrap_or_default()
    }

    /// Nanoseconds of `time` a packet that the engine sent.
    pub fn ns_a_packet(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.counter(Counter::TxDatagrams).max(1) as f64
    }
}
