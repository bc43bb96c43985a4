//! What stops this machine from line rate, most important first.
//!
//! Every [`Obstacle`] has a weight: the factor by which it is believed to slow the data plane. Factors say where they come
//! from: measured with this project's workload, or a rule of thumb.

mod cores;
mod kernel;
mod network;
pub mod text;

use std::time::Duration;

use serde::Serialize;

use crate::configure::finding::{Finding, Item, State};
use crate::configure::plan::Plan;
use crate::configure::stages::STAGES;
use crate::configure::system::System;

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
    /// It stops something, or loses or spoils packets, rather than slowing the shards.
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
    /// By how much it is believed to divide the data plane's rate; at least 1. Of [`Basis::Stops`] only a rank.
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
    report.obstacles.sort_by(|one, other| other.factor.total_cmp(&one.factor));
    report
}

/// What open settings of a stage mean.
struct Meaning {
    factor: f64,
    basis: Basis,
    what: &'static str,
    cost: &'static str,
}

/// In words and weight: factors of `Basis::Stops` are ranks.
fn meaning(finding: &Finding, plan: &Plan) -> Meaning {
    let shards = f64::from(plan.shards);
    let locks_too_little = finding.items.iter().any(|item| item.setting.starts_with("memlock") && is_short(item));
    let (factor, basis, what, cost) = match finding.stage {
        "nic-queues" => (
            40.0,
            Basis::Stops,
            "The interface has not one queue a shard",
            "a shard without a queue gets no packet, and packets of a queue without a shard are lost",
        ),
        "offloads" => (
            30.0,
            Basis::Stops,
            "The interface merges datagrams",
            "merged datagrams spoil AF_XDP frames, and many drivers refuse AF_XDP with them",
        ),
        "limits" if locks_too_little => {
            (10.0, Basis::Stops, "Resource limits are too low", "the sockets' frames cannot be locked in memory")
        }
        "limits" => {
            (1.0, Basis::Stops, "Resource limits are low", "encoders beyond the number of open files are refused")
        }
        "rss" => (
            shards,
            Basis::RuleOfThumb,
            "Packets are not spread by addresses and ports",
            "viewers behind one address all land on one shard: up to the number of shards",
        ),
        "irqbalance" | "irq-affinity" => (
            1.2,
            Basis::RuleOfThumb,
            "Interrupts are not on the cores of their shards",
            "frames come from another core's cache: about 1.2x a packet",
        ),
        "sysctls" => (
            1.15,
            Basis::RuleOfThumb,
            "Kernel settings are below what the engine asks for",
            "bursts are lost, or polling ends in interrupts: about 1.15x under load",
        ),
        "hugepages" => (
            1.1,
            Basis::RuleOfThumb,
            "There are too few huge pages",
            "TLB misses on packet frames and rings: about 1.1x a packet",
        ),
        "folders" => (
            1.0,
            Basis::Stops,
            "Group and folder of shared memory are not as they should be",
            "control and engine can only run as one user",
        ),
        _ => (
            1.05,
            Basis::RuleOfThumb,
            "The shards do not have their cores for themselves",
            "latency peaks, about 1.05x",
        ),
    };
    Meaning { factor, basis, what, cost }
}

/// Everything that `streams configure check` would say, a line a stage.
fn stages(system: &System, plan: &Plan, report: &mut Report) {
    for stage in STAGES {
        let finding = stage.check(system, plan);
        // The frequency governor has a line of its own.
        let of = |wanted: fn(State) -> bool| {
            let items = finding.items.iter().filter(move |item| wanted(item.state) && item.setting != "governor");
            items.collect::<Vec<&Item>>()
        };
        let (open, short) = (
            of(State::is_open),
            finding.items.iter().filter(|item| is_short(item) && item.setting != "governor").collect::<Vec<_>>(),
        );
        let Meaning { factor, basis, what, cost } = meaning(&finding, plan);
        if let Some(first) = short.first() {
            let what = sentence(what, first, short.len());
            let doable = open.iter().any(|item| item.change.is_some());
            let action = if doable { plan.command("init", finding.stage) } else { first.action.clone() };
            match open.is_empty() {
                false => report.obstacle(factor, basis, what, cost, action),
                true => report.obstacle(1.05, Basis::RuleOfThumb, what, "a little, mostly in latency peaks", action),
            }
        }
        for item in of(|state| state == State::Unknown) {
            report.unknown.push(format!("{}: {}: {}", finding.stage, item.setting, item.action));
        }
        if finding.state == State::Ok {
            report.fine(finding.stage);
        }
    }
}

fn is_short(item: &Item) -> bool {
    item.state.is_open() || item.state == State::Hint
}

fn sentence(what: &str, first: &Item, count: usize) -> String {
    let found = if first.found.is_empty() { "absent" } else { &first.found };
    let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
    format!("{what}: {} is {found}, wanted {}{more}.", first.setting, first.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::nic::XdpFeatures;
    use crate::configure::testing::Machine;

    fn report(machine: &Machine, interface: Option<&str>) -> Report {
        let system = machine.system();
        let mut config = machine.config(2);
        // Any free ports, so that what else runs on the machine of the test is no obstacle.
        (config.ports.quic, config.ports.rtmp, config.ports.https, config.ports.http_dev) = (0, 0, 0, 0);
        config.ports.srt = 0;
        let plan = Plan::new(&system, config, None, interface).unwrap();
        examine(&system, &plan, Duration::ZERO)
    }

    fn position(report: &Report, part: &str) -> usize {
        let found = report.obstacles.iter().position(|obstacle| obstacle.what.contains(part));
        found.unwrap_or_else(|| panic!("no `{part}` in {report:#?}"))
    }

    #[test]
    fn what_costs_most_stands_first_and_each_says_what_to_do() {
        let machine = Machine::new();
        machine.nic("eth0");
        machine.file("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
        machine.file("/proc/cpuinfo", "processor: 0\nflags\t: fpu sse2\n");
        machine.file("/proc/meminfo", "MemAvailable:   64000000 kB\n");
        machine.file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave");
        machine.devices.borrow_mut().xdp = Some(XdpFeatures { redirect: true, zero_copy: false });
        let report = report(&machine, Some("eth0"));
        let order = ["CAP_BPF", "one queue a shard", "merges datagrams", "no zero-copy", "no AES", "governor"];
        let positions: Vec<_> = order.iter().map(|part| position(&report, part)).collect();
        assert!(positions.is_sorted(), "{positions:?} {report:#?}");
        assert!(report.obstacles.iter().all(|obstacle| !obstacle.action.is_empty() && obstacle.factor >= 1.0));
        assert!(report.summary().contains("CAP_BPF"), "{}", report.summary());
        assert!(report.fine.iter().any(|line| line.contains("6.1.0")), "{report:#?}");
    }

    #[test]
    fn the_driver_is_judged_by_its_name_where_the_kernel_does_not_tell() {
        let machine = Machine::new();
        machine.nic("eth0");
        machine.link("/sys/class/net/eth0/device/driver", "../../../bus/pci/drivers/ice");
        let report = report(&machine, Some("eth0"));
        let line = report.fine.iter().find(|line| line.contains("zero-copy")).unwrap();
        assert!(line.contains("ice") && line.contains("by the driver's name"), "{line}");
    }

    #[test]
    fn a_machine_that_tells_nothing_is_unknown_and_no_failure() {
        let machine = Machine::new();
        machine.file("/proc/self/status", "");
        let report = report(&machine, None);
        for part in ["version", "processors", "instructions", "steal", "memory"] {
            assert!(report.unknown.iter().any(|line| line.contains(part)), "{part}: {report:#?}");
        }
    }
}
