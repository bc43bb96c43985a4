//! One stretch of the scene, with or without an abuse beside it, and how it is judged.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streams_harness::Engine;
use tokio::time::sleep;

use super::ledger::{Delivery, deliver};
use super::scene::{Moment, Scene, Tries};
use super::target::{Abuse, Running, Target};
use crate::error::BenchError;
use crate::film::Film;
use crate::process::{cpu_time, memory};

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long objects may still be on their way, and a new viewer may still wait for its picture.
const LAST_OBJECTS: Duration = Duration::from_secs(2);
/// How long the encoder may take until it has told what it sent: one connection and one that failed.
const TOLD_MAX: Duration = Duration::from_secs(60);
/// The 99th percentile may be so many times that of the quiet stretch.
const P99_FACTOR_MAX: f64 = 1.5;
/// Memory may be above that of the quiet stretch by so much of the engine's RSS afterwards.
const GROWTH_MAX: f64 = 0.05;

/// What happened in one stretch.
#[derive(Debug)]
pub struct Phase {
    /// Key in the JSON.
    pub key: &'static str,
    /// What went on beside the scene.
    pub name: &'static str,
    /// How often the abuse did what it does, a second.
    pub deeds_per_s: f64,
    delivery: Delivery,
    connects: Tries,
    joins: Tries,
    breaks: Tries,
    /// The longest time that a shard gave no sign of life.
    silence: Duration,
    engine_percent: f64,
    memory: Memory,
}

/// Heap and stacks of the engine, KiB. The rings in shared memory become resident with their first round and code with its first
/// use, whatever happens; RSS as a whole is only the measure of what counts as growth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// When the stretch began.
    pub before_kib: u64,
    /// The most while it lasted.
    pub peak_kib: u64,
    /// When it had settled again, or the time for that was over.
    pub after_kib: u64,
    /// How long that took, ms.
    pub settled_ms: u64,
    /// RSS at the end.
    pub rss_kib: u64,
}

/// What stretches are made with.
pub struct Stage<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Who must not notice.
    pub scene: &'a Scene,
    /// What the encoder sends.
    pub film: &'a Film,
    /// What is abused.
    pub target: &'a Target,
    /// Length of a stretch.
    pub time: Duration,
    /// How long memory may take to come back.
    pub settle_max: Duration,
}

impl Stage<'_> {
    fn memory_kib(&self) -> Result<u64, BenchError> {
        Ok(memory(self.engine.pid())?.anon_kib)
    }

    /// Runs one stretch. Memory has to come back to what it was in the `quiet` one; `None` takes what there is at the end.
    ///
    /// # Errors
    /// The engine is gone, or the abuse cannot be carried out.
    pub async fn run(&self, abuse: Option<Box<dyn Abuse>>, quiet: Option<&Phase>) -> Result<Phase, BenchError> {
        let (key, name) = abuse.as_ref().map_or(("quiet", "quiet"), |abuse| (abuse.key(), abuse.name()));
        let mut memory = Memory { before_kib: self.memory_kib()?, ..Memory::default() };
        let (from, cpu) = (self.scene.moment(), cpu_time(self.engine.pid())?);
        let running = abuse.map(|abuse| Running::start(abuse, self.target)).transpose()?;
        let mut silence = Duration::ZERO;
        while from.at.elapsed() < self.time {
            sleep(LOOK).await;
            silence = silence.max(self.engine.silence()?);
            memory.peak_kib = memory.peak_kib.max(self.memory_kib()?);
        }
        let (end, used) = (Instant::now(), cpu_time(self.engine.pid())?.saturating_sub(cpu));
        let deeds = running.map_or(Ok(0), Running::end)?;
        sleep(LAST_OBJECTS).await;
        let to = self.scene.moment();
        let goal_kib = quiet.map(|quiet| quiet.memory.goal_kib(memory.before_kib));
        self.settle(&mut memory, goal_kib).await?;
        let seconds = (end - from.at).as_secs_f64();
        Ok(Phase {
            key,
            name,
            deeds_per_s: deeds as f64 / seconds,
            delivery: self.delivery(from.at, end).await?,
            connects: since(&from, &to, |moment| &moment.connects),
            joins: since(&from, &to, |moment| &moment.joins),
            breaks: since(&from, &to, |moment| &moment.breaks),
            silence,
            engine_percent: 100.0 * used.as_secs_f64() / seconds,
            memory,
        })
    }

    async fn settle(&self, memory: &mut Memory, goal_kib: Option<u64>) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            let now = crate::process::memory(self.engine.pid())?;
            (memory.after_kib, memory.rss_kib) = (now.anon_kib, now.rss_kib);
            memory.settled_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let settled = goal_kib.is_none_or(|goal| memory.after_kib <= goal);
            if settled || began.elapsed() >= self.settle_max {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    async fn delivery(&self, from: Instant, to: Instant) -> Result<Delivery, BenchError> {
        let deadline = Instant::now() + TOLD_MAX;
        while !self.scene.has_told(to) {
            if Instant::now() > deadline {
                return Err(BenchError::TooLong { what: "the encoder tells what it sent", patience: TOLD_MAX });
            }
            sleep(LOOK).await;
        }
        let (sent, viewers) = self.scene.take(to);
        deliver(self.film, &sent, (from, to), &viewers)
    }
}

fn since(from: &Moment, to: &Moment, of: impl Fn(&Moment) -> &Tries) -> Tries {
    let (before, after) = (of(from), of(to));
    Tries {
        good: after.good - before.good,
        failed: after.failed - before.failed,
        reasons: if after.failed > before.failed { after.reasons.clone() } else { Vec::new() },
    }
}

impl Memory {
    /// What heap and stacks may be after a stretch that began with `before_kib`, when this is what they were in the quiet one. A
    /// stretch answers for its own growth, not for what an earlier one left behind.
    fn goal_kib(&self, before_kib: u64) -> u64 {
        self.after_kib.max(before_kib).saturating_add((self.rss_kib as f64 * GROWTH_MAX) as u64)
    }
}

impl Phase {
    fn p99_ms(&self) -> f64 {
        self.delivery.times.quantile_ms(0.99)
    }

    /// What was not as it has to be, beside the quiet stretch; an empty list when nobody noticed.
    pub fn judge(&self, quiet: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        let Delivery { groups, groups_lost, frames_missing, .. } = &self.delivery;
        if *groups == 0 {
            faults.push("nothing was sent".to_owned());
        }
        if *groups_lost > 0 {
            faults.push(format!("{groups_lost} of {groups} groups were not whole ({frames_missing} frames)"));
        }
        for (tries, what) in [
            (&self.connects, "connections of the encoder were refused or cut"),
            (&self.joins, "new viewers got no picture"),
            (&self.breaks, "viewers were cut"),
        ] {
            if tries.failed > 0 {
                faults.push(format!("{} {what} ({})", tries.failed, tries.reasons.join("; ")));
            }
        }
        let (p99, quiet_p99) = (self.p99_ms(), quiet.p99_ms());
        if p99 > quiet_p99 * P99_FACTOR_MAX {
            faults.push(format!("p99 {p99:.1} ms is {:.1} times the quiet {quiet_p99:.1} ms", p99 / quiet_p99));
        }
        let (after, goal) = (self.memory.after_kib, quiet.memory.goal_kib(self.memory.before_kib));
        if after > goal {
            let mib = |kib: u64| kib as f64 / 1024.0;
            faults.push(format!(
                "heap and stacks stay at {:.1} MiB, and {:.1} MiB would be 5 % of RSS above the quiet {:.1} MiB",
                mib(after),
                mib(goal),
                mib(quiet.memory.after_kib)
            ));
        }
        faults
    }

    /// One line for people.
    pub fn shown(&self) -> String {
        let Delivery { groups, groups_lost, .. } = &self.delivery;
        let Memory { before_kib, peak_kib, after_kib, settled_ms, .. } = self.memory;
        let [before, peak, after] = [before_kib, peak_kib, after_kib].map(|kib| kib / 1024);
        let tries = |tries: &Tries| format!("{}/{}", tries.good, tries.good + tries.failed);
        format!(
            "{:>7.0}/s  lost {groups_lost}/{groups}  p50 {:.1} p99 {:.1} max {:.0} ms  encoder {}  joins {}  cut {}  silent {} ms  \
             engine {:.0} %  MiB {before} {peak} {after} ({:.1} s)",
            self.deeds_per_s,
            self.delivery.times.quantile_ms(0.5),
            self.p99_ms(),
            self.delivery.times.quantile_ms(1.0),
            tries(&self.connects),
            tries(&self.joins),
            self.breaks.failed,
            self.silence.as_millis(),
            self.engine_percent,
            settled_ms as f64 / 1000.0,
        )
    }

    /// The same for programs.
    pub fn json(&self, faults: &[String]) -> Value {
        let Delivery { groups, groups_lost, frames_missing, times } = &self.delivery;
        let Memory { before_kib, peak_kib, after_kib, settled_ms, rss_kib } = self.memory;
        let tries = |tries: &Tries| json!({ "good": tries.good, "failed": tries.failed, "reasons": tries.reasons });
        json!({
            "ok": faults.is_empty(),
            "faults": faults,
            "deeds_per_s": self.deeds_per_s,
            "groups": groups,
            "groups_lost": groups_lost,
            "frames_missing": frames_missing,
            "latency": times.json(),
            "encoder_connections": tries(&self.connects),
            "joins": tries(&self.joins),
            "viewers_cut": tries(&self.breaks),
            "shard_silence_max_ms": self.silence.as_secs_f64() * 1000.0,
            "engine_percent": self.engine_percent,
            "anon_before_kib": before_kib,
            "anon_peak_kib": peak_kib,
            "anon_after_kib": after_kib,
            "anon_settled_ms": settled_ms,
            "rss_kib": rss_kib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Times;

    fn phase(p99_ms: u64, after_kib: u64) -> Phase {
        let mut times = Times::new().unwrap();
        times.record(Duration::from_millis(p99_ms));
        Phase {
            key: "test",
            name: "test",
            deeds_per_s: 0.0,
            delivery: Delivery { groups: 10, groups_lost: 0, frames_missing: 0, times },
            connects: Tries { good: 2, ..Tries::default() },
            joins: Tries::default(),
            breaks: Tries::default(),
            silence: Duration::ZERO,
            engine_percent: 0.0,
            memory: Memory { after_kib, rss_kib: 100_000, ..Memory::default() },
        }
    }

    #[test]
    fn a_stretch_in_which_nobody_noticed_anything_has_no_fault() {
        assert_eq!(phase(14, 104_000).judge(&phase(10, 100_000)), Vec::<String>::new());
    }

    #[test]
    fn every_figure_that_is_not_met_is_a_fault() {
        let quiet = phase(10, 100_000);
        let fault = |phase: Phase, words: &str| {
            let faults = phase.judge(&quiet);
            assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?}");
        };
        fault(phase(16, 100_000), "1.6 times");
        fault(phase(10, 106_000), "103.5 MiB, and 102.5 MiB");
        let mut inherited = phase(10, 106_000);
        inherited.memory.before_kib = 105_000;
        assert_eq!(inherited.judge(&quiet), Vec::<String>::new(), "an earlier stretch left that behind");
        let failed = || Tries { failed: 1, reasons: vec!["why".into()], ..Tries::default() };
        fault(Phase { connects: failed(), ..phase(10, 1) }, "encoder were refused or cut (why)");
        fault(Phase { joins: failed(), ..phase(10, 1) }, "no picture");
        fault(Phase { breaks: failed(), ..phase(10, 1) }, "were cut");
        let mut lossy = phase(10, 1);
        (lossy.delivery.groups_lost, lossy.delivery.frames_missing) = (1, 7);
        fault(lossy, "1 of 10 groups were not whole (7 frames)");
        let mut empty = phase(10, 1);
        empty.delivery.groups = 0;
        fault(empty, "nothing was sent");
    }
}
