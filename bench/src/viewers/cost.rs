//! What the engine costs over a while.

use std::time::Duration;

use serde_json::{Value, json};
use streams_harness::Engine;
use tokio::time::{Instant, sleep};

use crate::error::BenchError;
use crate::process::{Memory, cpu_time, machine_busy, memory};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(250);

/// Cost of a window of time. Percent are of one core.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Viewers then.
    pub viewers: usize,
    /// The engine's processor time, user and system.
    pub engine_percent: f64,
    /// This process's: all viewers.
    pub client_percent: f64,
    /// Everything on the machine. Near a hundred times the cores, the figures beside are those of an overloaded machine.
    pub machine_percent: f64,
    /// Longest silence of a shard.
    pub silence: Duration,
    /// The engine's memory, mean over the window.
    pub memory: Memory,
}

impl Cost {
    /// Watches the engine for `window`.
    ///
    /// # Errors
    /// [`BenchError::File`] when the engine is gone.
    pub async fn measure(engine: &Engine, viewers: usize, window: Duration) -> Result<Self, BenchError> {
        let pid = engine.pid();
        let used = || Ok::<_, BenchError>([cpu_time(pid)?, cpu_time(std::process::id())?, machine_busy()?]);
        let (began, before) = (Instant::now(), used()?);
        let (mut samples, mut silence) = (Vec::new(), Duration::ZERO);
        while began.elapsed() < window {
            sleep(SAMPLE).await;
            samples.push(memory(pid)?);
            silence = silence.max(engine.silence()?);
        }
        let elapsed = began.elapsed().as_secs_f64();
        let mut percents = used()?
            .into_iter()
            .zip(before)
            .map(|(after, before)| 100.0 * after.saturating_sub(before).as_secs_f64() / elapsed);
        let mut next = || percents.next().unwrap_or_default();
        let mean = |part: fn(&Memory) -> u64| {
            samples.iter().map(part).sum::<u64>().checked_div(samples.len() as u64).unwrap_or_default()
        };
        Ok(Self {
            viewers,
            engine_percent: next(),
            client_percent: next(),
            machine_percent: next(),
            silence,
            memory: Memory {
                rss_kib: mean(|memory| memory.rss_kib),
                anon_kib: mean(|memory| memory.anon_kib),
                shared_kib: mean(|memory| memory.shared_kib),
            },
        })
    }

    /// For people.
    pub fn shown(&self) -> String {
        let Self { engine_percent, client_percent, machine_percent, memory, .. } = self;
        let Memory { rss_kib, anon_kib, shared_kib } = memory;
        format!(
            "engine {engine_percent:.1} %, viewers {client_percent:.1} %, machine {machine_percent:.1} % of a core; engine RSS \
             {rss_kib} KiB (anon {anon_kib}, shared {shared_kib})"
        )
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let Self { viewers, engine_percent, client_percent, machine_percent, memory, .. } = self;
        let Memory { rss_kib, anon_kib, shared_kib } = memory;
        json!({
            "viewers": viewers,
            "engine_percent": engine_percent,
            "client_percent": client_percent,
            "machine_percent": machine_percent,
            "rss_kib": rss_kib,
            "anon_kib": anon_kib,
            "shared_kib": shared_kib,
        })
    }
}

/// Growth a viewer between two windows.
pub fn slope(before: &Cost, after: &Cost, of: impl Fn(&Cost) -> f64) -> f64 {
    let viewers = after.viewers.saturating_sub(before.viewers).max(1);
    (of(after) - of(before)) / viewers as f64
}
