//! Processors and memory: how many, how fast, who else uses them.

use std::time::Duration;

use super::{Basis, Report};
use crate::configure::finding::State;
use crate::configure::plan::{Plan, SHARD_HUGE_BYTES};
use crate::configure::stages::cpu_isolation::governor;
use crate::configure::system::System;

/// Part of the time that the hypervisor may take before it is worth a line.
const STEAL_PART_MAX: f64 = 0.01;

pub fn examine(system: &System, plan: &Plan, sample: Duration, report: &mut Report) {
    count(plan, report);
    instructions(system, report);
    let item = governor(system, plan);
    match item.state {
        State::Hint => {
            let what = format!("The frequency governor is {}, not performance.", item.found);
            report.obstacle(1.3, Basis::RuleOfThumb, what, "about 1.3x until the core has sped up", item.action);
        }
        State::Ok => report.fine("governor performance"),
        _ => {}
    }
    steal(system, sample, report);
    memory(system, plan, report);
}

fn count(plan: &Plan, report: &mut Report) {
    let cpus = plan.cpus.len();
    let shards = usize::try_from(plan.shards).unwrap_or(usize::MAX);
    if cpus == 0 {
        report.unknown.push("processors: /proc/self/status cannot be read".to_owned());
    } else if shards > cpus {
        let what = format!("{shards} shards share {cpus} cores.");
        let factor = f64::from(plan.shards) / f64::from(u32::try_from(cpus).unwrap_or(u32::MAX));
        let action = format!("streams up --shards {cpus}");
        report.obstacle(factor, Basis::Computed, what, "shards wait for each other; worse with --poll busy", action);
    } else if shards == cpus && plan.busy {
        let what = format!("{shards} busy shards leave no core for control, interrupts and everything else.");
        let action = format!("streams up --shards {}", (cpus - 1).max(1));
        report.obstacle(1.2, Basis::RuleOfThumb, what, "about 1.2x, and latency peaks", action);
    } else {
        report.fine(format!("{cpus} cores for {shards} shards"));
    }
}

/// AES in hardware: encryption is the largest part of a packet that no batching removes.
fn instructions(system: &System, report: &mut Report) {
    let text = system.text("/proc/cpuinfo").unwrap_or_default();
    let is_flags = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let Some(flags) = text.lines().find(is_flags) else {
        report.unknown.push("the processor's instructions: /proc/cpuinfo cannot be read".to_owned());
        return;
    };
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    if !has("aes") {
        let what = "The processor has no AES instructions (or the hypervisor hides them).";
        let cost = "ChaCha20 then costs 710 ns a packet where AES-128 with AES and VAES costs 238 ns: 3x";
        report.obstacle(3.0, Basis::Measured, what, cost, "use another processor, or let the VM see the host's flags");
    } else if flags.starts_with("flags") && !has("vaes") {
        let what = "The processor has AES instructions and no VAES.";
        let cost = "about 1.5x for encryption, which is a fifth of a packet";
        report.obstacle(1.1, Basis::RuleOfThumb, what, cost, "nothing to do on this processor");
    } else {
        report.fine("AES in hardware");
    }
}

/// Time that the hypervisor gave to others, measured over `sample`.
fn steal(system: &System, sample: Duration, report: &mut Report) {
    let before = processor_times(system);
    std::thread::sleep(sample);
    let after = processor_times(system);
    let (Some((total, stolen)), Some((total_then, stolen_then))) = (after, before) else {
        report.unknown.push("steal time: /proc/stat cannot be read".to_owned());
        return;
    };
    // Ticks of one second on all cores: far below what a float holds exactly.
    let ticks = |after: u64, before: u64| f64::from(u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX));
    let part = ticks(stolen, stolen_then) / ticks(total, total_then).max(1.0);
    if part > STEAL_PART_MAX {
        let what = format!("The hypervisor gave {:.0} % of this machine's time to others just now.", part * 100.0);
        let factor = 1.0 / (1.0 - part).max(0.1);
        report.obstacle(
            factor,
            Basis::Computed,
            what,
            "that part of the rate, and latency peaks",
            "use dedicated cores or bare metal",
        );
    } else {
        report.fine(format!("steal time {:.1} %", part * 100.0));
    }
}

/// All ticks and stolen ticks of the first line of /proc/stat.
fn processor_times(system: &System) -> Option<(u64, u64)> {
    let text = system.text("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guest times are part of user and nice.
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|tick| tick.parse().ok()).collect();
    Some((ticks.iter().sum(), *ticks.get(7)?))
}

fn memory(system: &System, plan: &Plan, report: &mut Report) {
    let Some(available) = system.memory("MemAvailable") else {
        report.unknown.push("memory: /proc/meminfo cannot be read".to_owned());
        return;
    };
    let cache = u64::try_from(plan.config.relay.cache_shard_bytes_max).unwrap_or(u64::MAX);
    let needed = SHARD_HUGE_BYTES.saturating_add(cache).saturating_mul(u64::from(plan.shards));
    let mib = |bytes: u64| bytes >> 20;
    if available < needed {
        let what =
            format!("{} MiB of memory are free; {} shards may use {} MiB.", mib(available), plan.shards, mib(needed));
        let action = "fewer shards, or a smaller relay.cache_shard_bytes_max";
        report.obstacle(5.0, Basis::Stops, what, "with full caches the kernel ends the engine", action);
    } else {
        report.fine(format!("{} MiB of memory for the {} MiB of full caches", mib(available), mib(needed)));
    }
}
