//! What a measurement tells: a table for people, one JSON object for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use streams_harness::SILENCE_MAX;

use crate::error::BenchError;
use crate::machine::Machine;

/// Times are kept from 1 µs up to this; what is longer counts as this.
const TIME_US_MAX: u64 = 60_000_000;
/// Decimal digits that a histogram keeps.
const DIGITS: u8 = 3;

/// The outcome of one measurement.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    rows: Vec<(String, String)>,
    values: Map<String, Value>,
    failures: Vec<String>,
    /// One line for the report that this one is a step of.
    summary: String,
    /// As a step: everything came, and in time.
    sustained: bool,
}

impl Report {
    /// An empty report of the measurement `bench`.
    pub fn new(bench: &'static str) -> Self {
        let (rows, values, failures) = (Vec::new(), Map::new(), Vec::new());
        Self { bench, rows, values, failures, summary: String::new(), sustained: false }
    }

    /// One row of the table, and one key of the JSON.
    pub fn row(&mut self, key: &str, value: impl Into<Value>, name: &str, shown: impl Into<String>) {
        self.values.insert(key.to_owned(), value.into());
        self.rows.push((name.to_owned(), shown.into()));
    }

    /// A key of the JSON without a row.
    pub fn value(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// A number that was told as part of a value.
    pub fn number(&self, key: &str, part: &str) -> Option<f64> {
        self.values.get(key)?.get(part)?.as_f64()
    }

    /// What a report of several steps tells of this one.
    pub fn summary(&mut self, words: String) {
        self.summary = words;
    }

    /// Whether everything came, and in time.
    pub fn sustained(&mut self, sustained: bool) {
        self.sustained = sustained;
    }

    /// See [`Report::sustained`].
    pub fn is_sustained(&self) -> bool {
        self.sustained
    }

    /// Takes up a step: its summary is a row, its values are one value, its failures are this report's too.
    pub fn step(&mut self, key: &str, name: &str, step: Self) {
        self.failures.extend(step.failures);
        self.row(key, step.values, name, step.summary);
    }

    /// Says that something was not as it has to be. The program then ends with 1.
    pub fn failure(&mut self, words: impl Into<String>) {
        self.failures.push(words.into());
    }

    /// Tells the longest silence of a shard, which is a failure when it is no wait for a core any more.
    pub fn silence(&mut self, longest: Duration) {
        let ms = longest.as_secs_f64() * 1000.0;
        self.row("shard_silence_max_ms", ms, "shard silent", format!("{ms:.0} ms at most"));
        if longest > SILENCE_MAX {
            self.failure(format!(
                "a shard gave no sign of life for {ms:.0} ms: it hangs, or the machine is overloaded"
            ));
        }
    }

    /// What was not as it has to be.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The table.
    pub fn table(&self, machine: &Machine) -> String {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut text = format!("{}\n{}\n\n", self.bench, machine.line());
        for (name, shown) in &self.rows {
            text.push_str(&format!("{name:<width$}  {shown}\n"));
        }
        text
    }

    /// The JSON object.
    pub fn json(&self, machine: &Machine) -> Value {
        json!({
            "bench": self.bench,
            "ok": self.failures.is_empty(),
            "failures": self.failures,
            "profile": machine.profile,
            "machine": machine.json(),
            "result": self.values,
        })
    }
}

/// Percentiles that are told to programs.
const PERCENTILES: [f64; 9] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0];

/// A distribution of times.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// An empty distribution.
    ///
    /// # Errors
    /// [`BenchError::Histogram`]: the bounds above are none.
    pub fn new() -> Result<Self, BenchError> {
        Ok(Self(Histogram::new_with_bounds(1, TIME_US_MAX, DIGITS)?))
    }

    /// Counts one time.
    pub fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(TIME_US_MAX);
        self.0.saturating_record(us.max(1));
    }

    /// p50, p95, p99 and the greatest, for people.
    pub fn shown(&self) -> String {
        let [p50, p95, p99, max] = self.figures_ms();
        format!("p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  max {max:.2} ms  ({} samples)", self.0.len())
    }

    /// The same for `--json`, and more percentiles as pairs of percent and ms.
    pub fn json(&self) -> Value {
        let [p50, p95, p99, max] = self.figures_ms();
        let percentiles: Vec<[f64; 2]> =
            PERCENTILES.iter().map(|percent| [*percent, self.quantile_ms(percent / 100.0)]).collect();
        json!({
            "samples": self.0.len(), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": max,
            "percentiles_ms": percentiles,
        })
    }

    /// The time that this share of all does not exceed, ms.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn figures_ms(&self) -> [f64; 4] {
        let at = |quantile| self.0.value_at_quantile(quantile);
        [at(0.50), at(0.95), at(0.99), self.0.max()].map(|us| us as f64 / 1000.0)
    }
}

/// A distribution of what a packet costs, ns.
#[derive(Debug)]
pub struct PacketCosts(Histogram<u64>);

/// What costs more counts as this.
const COST_NS_MAX: u64 = 1_000_000_000;

impl PacketCosts {
    /// An empty distribution.
    ///
    /// # Errors
    /// [`BenchError::Histogram`]: the bounds above are none.
    pub fn new() -> Result<Self, BenchError> {
        Ok(Self(Histogram::new_with_bounds(1, COST_NS_MAX, DIGITS)?))
    }

    /// Counts one.
    pub fn record(&mut self, ns: f64) {
        self.0.saturating_record((ns as u64).max(1));
    }

    /// Percentiles for people.
    pub fn shown(&self) -> String {
        let [min, p50, p99, max] = self.figures();
        format!("min {min}  p50 {p50}  p99 {p99}  max {max} ns a packet  ({} objects)", self.0.len())
    }

    /// The same for `--json`.
    pub fn json(&self) -> Value {
        let [min, p50, p99, max] = self.figures();
        json!({ "samples": self.0.len(), "min_ns": min, "p50_ns": p50, "p99_ns": p99, "max_ns": max })
    }

    fn figures(&self) -> [u64; 4] {
        [self.0.min(), self.0.value_at_quantile(0.50), self.0.value_at_quantile(0.99), self.0.max()]
    }
}
