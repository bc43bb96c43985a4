//! What stops this machine from line rate, most important first.
//!
//! Every [`Obstacle`] has a weight: the factor by which it is believed to slow the data plane. Factors say where they come
//! from: measured with this project's workload, or a rule of thumb.

mod cores;
mod kernel;
mod network;

use std::time::Duration;

use serde::Serialize;

use super::plan::Plan;
use super::stages::STAGES;
use super::system::System;

/// What a factor rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Measured, on the machine and with the method of docs/performance.md or of the project's notes.
    Measured,
    /// Computed from what was read on this machine.
    Computed,
    /// A rule of thumb.
    RuleOfThumb,
    /// It stops the engine, or loses or spoils packets, rather than slowing it.
    Stops,
}

impl Basis {
    /// Words for a person.
    pub fn words(self) -> &'static str {
        match self {
            Basis::Measured => "measured",
            Basis::Computed => "computed from this machine",
            Basis::RuleOfThumb => "rule of thumb",
            Basis::Stops => "no matter of speed",
        }
    }
}

/// One thing in the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Obstacle {
    /// What it is, in a sentence.
    pub what: String,
    /// What it costs, in words.
    pub cost: String,
    /// By how much it is believed to divide the data plane's rate; at least 1.
    pub factor: f64,
    /// What the cost rests on.
    pub basis: Basis,
    /// What to do.
    pub action: String,
}

/// What the doctor says.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Report {
    /// Most important first.
    pub obstacles: Vec<Obstacle>,
    /// What is as it should be, in short.
    pub fine: Vec<String>,
    /// What could not be known, and how to know it.
    pub unknown: Vec<String>,
}

impl Report {
    /// Adds an obstacle.
    fn obstacle(&mut self, factor: f64, basis: Basis, what: impl Into<String>, cost: &str, action: impl Into<String>) {
        let (what, action) = (what.into(), action.into());
        self.obstacles.push(Obstacle { what, cost: cost.to_owned(), factor, basis, action });
    }

    /// Adds something that is as it should be.
    fn fine(&mut self, what: impl Into<String>) {
        self.fine.push(what.into());
    }

    /// One line about all of it.
    pub fn summary(&self) -> String {
        let stops = self.obstacles.iter().filter(|obstacle| obstacle.basis == Basis::Stops).count();
        let slows = self.obstacles.len() - stops;
        let first = self.obstacles.first().map(|obstacle| obstacle.what.trim_end_matches('.'));
        match first {
            None => "Nothing known stands between this machine and line rate.".to_owned(),
            Some(first) => format!("{stops} to mend, {slows} that slow it down. Begin with: {first}."),
        }
    }
}

/// Looks at everything. Steal time is measured over `sample`.
pub fn examine(system: &System, plan: &Plan, sample: Duration) -> Report {
    let mut report = Report::default();
    kernel::examine(system, plan, &mut report);
    network::examine(system, plan, &mut report);
    cores::examine(system, plan, sample, &mut report);
    stages(system, plan, &mut report);
    // What stops or spoils comes before what slows, and what slows most before the rest.
    report.obstacles.sort_by(|one, other| {
        let rank = |obstacle: &Obstacle| (obstacle.basis == Basis::Stops, obstacle.factor);
        rank(other).partial_cmp(&rank(one)).unwrap_or(std::cmp::Ordering::Equal)
    });
    report
}

/// What each stage's open settings cost: a factor, its basis, and words.
fn cost_of(stage: &str, plan: &Plan) -> (f64, Basis, &'static str) {
    match stage {
        "nic-queues" => (f64::from(plan.shards), Basis::Stops, "a shard without a queue gets no packet; a queue without a shard has no socket"),
        "rss" => (f64::from(plan.shards), Basis::RuleOfThumb, "viewers behind one address all land on one shard"),
        "offloads" => (1.5, Basis::Stops, "merged datagrams spoil AF_XDP frames"),
        "limits" => (1.1, Basis::Stops, "the sockets' frames cannot be locked, or connections are refused"),
        "folders" => (1.0, Basis::Stops, "an engine that has dropped its rights cannot share memory with control"),
        "hugepages" => (1.1, Basis::RuleOfThumb, "TLB misses on packet frames: about 1.1x a packet"),
        "irqbalance" | "irq-affinity" => (1.2, Basis::RuleOfThumb, "frames come from another core's cache: about 1.2x a packet"),
        "sysctls" => (1.15, Basis::RuleOfThumb, "bursts are lost, or polls end in interrupts: about 1.15x under load"),
        _ => (1.1, Basis::RuleOfThumb, "other work interrupts the shards: latency peaks, about 1.1x"),
    }
}

/// Everything that `streams configure check` would say, a line a stage.
fn stages(system: &System, plan: &Plan, report: &mut Report) {
    for stage in STAGES {
        let finding = stage.check(system, plan);
        // The frequency governor has a line of its own.
        let items = || finding.items.iter().filter(|item| item.setting != "governor");
        let open: Vec<_> = items().filter(|item| item.state.is_open()).collect();
        let (factor, basis, cost) = cost_of(finding.stage, plan);
        if let Some(first) = open.first() {
            let found = if first.found.is_empty() { "absent" } else { &first.found };
            let more = if open.len() > 1 { format!(" and {} more", open.len() - 1) } else { String::new() };
            let what = format!("{}: {} is {found}, wanted {}{more}.", finding.stage, first.setting, first.wanted);
            let doable = open.iter().any(|item| item.change.is_some());
            let action = if doable { plan.command("init", finding.stage) } else { first.action.clone() };
            report.obstacle(factor, basis, what, cost, action);
        }
        for hint in items().filter(|item| item.state == super::finding::State::Hint) {
            let what = format!("{}: {} is {}, wanted {}.", finding.stage, hint.setting, hint.found, hint.wanted);
            report.obstacle(1.05, Basis::RuleOfThumb, what, "a little, mostly in latency peaks", hint.action.clone());
        }
        for item in items().filter(|item| item.state == super::finding::State::Unknown) {
            report.unknown.push(format!("{}: {}: {}", finding.stage, item.setting, item.action));
        }
        if finding.state == super::finding::State::Ok {
            report.fine(finding.stage);
        }
    }
}
