//! One number of viewers: what they got in a window, and what it cost the relay.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::audience::{Audience, Window};
use super::publisher::Publisher;
use crate::error::BenchError;
use crate::process::cpu_time;

/// From the last join to the window.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long after the window its objects may still come.
const DRAIN: Duration = Duration::from_millis(1500);
/// Share of a core at which the viewers of this process are the limit, not the relay.
const LOAD_FULL: f64 = 0.95;
/// Field of the `cpu` line of `/proc/stat`, behind the name and from 0: time that the hypervisor took.
const STAT_STEAL: usize = 7;

/// What a step is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of the window.
    pub window: Duration,
    /// Most that the 99th percentile of delivery may be.
    pub p99_max: Duration,
}

/// Processor time used up to one moment, seconds.
#[derive(Debug, Clone, Copy)]
struct Usage {
    at: Instant,
    relay: f64,
    load: f64,
    steal: f64,
}

impl Usage {
    fn now(relay: u32) -> Result<Self, BenchError> {
        Ok(Self {
            at: Instant::now(),
            relay: cpu_time(relay)?.as_secs_f64(),
            load: cpu_time(std::process::id())?.as_secs_f64(),
            steal: steal()?,
        })
    }
}

/// The outcome of one step.
#[derive(Debug)]
pub struct Step {
    viewers: u32,
    /// Length of the window, seconds.
    seconds: f64,
    /// Objects that every viewer was owed.
    owed: u64,
    window: Window,
    /// Processor time of the relay, of this process and of the hypervisor (all cores together), seconds.
    relay: f64,
    load: f64,
    steal: f64,
    /// Why viewers are missing.
    pub reasons: BTreeSet<String>,
}

impl Step {
    /// Measures the viewers that are there.
    ///
    /// # Errors
    /// [`BenchError::File`] when the relay is gone, [`BenchError::Protocol`] when the publisher's session is.
    pub async fn measure(
        viewers: u32,
        relay: u32,
        publisher: &Publisher,
        audience: &Audience,
        limits: &Limits,
    ) -> Result<Self, BenchError> {
        let first = publisher.published();
        audience.open(first)?;
        let before = Usage::now(relay)?;
        sleep(limits.window).await;
        let after = Usage::now(relay)?;
        let end = publisher.published();
        audience.close(end);
        sleep(DRAIN).await;
        if publisher.is_over() {
            return Err(BenchError::Protocol("the publisher's session has ended"));
        }
        let window = audience.take().ok_or(BenchError::Died("window"))?;
        Ok(Self {
            viewers,
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            owed: end - first,
            window,
            relay: after.relay - before.relay,
            load: after.load - before.load,
            steal: after.steal - before.steal,
            reasons: audience.failures().into_iter().collect(),
        })
    }

    /// Objects that did not come.
    fn missing(&self) -> u64 {
        (self.owed * u64::from(self.viewers)).saturating_sub(self.window.received.iter().sum())
    }

    fn time_ms(&self, quantile: f64) -> f64 {
        self.window.times.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Every object came, and in time.
    pub fn sustained(&self, limits: &Limits) -> bool {
        self.missing() == 0 && self.time_ms(0.99) <= limits.p99_max.as_secs_f64() * 1000.0
    }

    /// Payload delivered, Gbit.
    fn gbit(&self) -> f64 {
        self.window.bytes as f64 * 8.0 / 1e9
    }

    /// Relay processor time per Gbit of payload, seconds: its inverse is Gbit/s a core.
    fn seconds_a_gbit(&self) -> f64 {
        self.relay / self.gbit()
    }

    /// Viewers that one core would carry at this price.
    fn viewers_a_core(&self) -> f64 {
        f64::from(self.viewers) * self.seconds / self.relay
    }

    /// One line for people.
    pub fn shown(&self) -> String {
        let Self { seconds, relay, load, steal, .. } = self;
        let percent = |time: &f64| 100.0 * time / seconds;
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|quantile| self.time_ms(quantile));
        let full = if load / seconds > LOAD_FULL { " (the viewers' core is full)" } else { "" };
        let reasons: Vec<&str> = self.reasons.iter().map(String::as_str).collect();
        format!(
            "{:.0} Mbit/s, missing {}, p50 {p50:.2} p90 {p90:.2} p99 {p99:.2} ms, relay {:.1} %, {:.3} s a Gbit, {:.0} viewers a \
             core, load {:.0} %{full}, steal {:.1} % {}",
            1000.0 * self.gbit() / seconds,
            self.missing(),
            percent(relay),
            self.seconds_a_gbit(),
            self.viewers_a_core(),
            percent(load),
            percent(steal),
            reasons.join("; "),
        )
    }

    /// The same for programs.
    pub fn json(&self, limits: &Limits) -> Value {
        let received = &self.window.received;
        json!({
            "viewers": self.viewers,
            "seconds": self.seconds,
            "sustained": self.sustained(limits),
            "objects_owed_a_viewer": self.owed,
            "objects_missing": self.missing(),
            "objects_received_min": received.iter().min(),
            "objects_received_max": received.iter().max(),
            "mbit_s": 1000.0 * self.gbit() / self.seconds,
            "p50_ms": self.time_ms(0.5),
            "p90_ms": self.time_ms(0.9),
            "p99_ms": self.time_ms(0.99),
            "max_ms": self.window.times.max() as f64 / 1000.0,
            "relay_cpu_percent": 100.0 * self.relay / self.seconds,
            "relay_cpu_s_a_gbit": self.seconds_a_gbit(),
            "viewers_a_core": self.viewers_a_core(),
            "load_cpu_percent": 100.0 * self.load / self.seconds,
            "load_is_the_limit": self.load / self.seconds > LOAD_FULL,
            "steal_percent_of_a_core": 100.0 * self.steal / self.seconds,
            "reasons": self.reasons,
        })
    }
}

/// Time that the hypervisor took from all cores together, seconds.
fn steal() -> Result<f64, BenchError> {
    let path = Path::new("/proc/stat");
    let text = std::fs::read_to_string(path).map_err(BenchError::file("read", path))?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: u64 = fields.skip(STAT_STEAL).find_map(|field| field.parse().ok()).unwrap_or_default();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
