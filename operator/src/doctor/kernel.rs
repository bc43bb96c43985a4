//! Kernel version and the right to load BPF programs.

use super::{Basis, Report};
use crate::configure::plan::Plan;
use crate::configure::system::System;

/// XDP_USE_NEED_WAKEUP and preferred busy polling (SO_PREFER_BUSY_POLL).
const OLDEST: (u32, u32) = (5, 11);
/// Drivers' zero-copy and multi-buffer AF_XDP have matured here.
const GOOD: (u32, u32) = (6, 0);
/// Bits of capability masks (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

pub fn examine(system: &System, plan: &Plan, report: &mut Report) {
    version(system, report);
    if plan.interface.is_ok() {
        rights(system, report);
    }
    if cfg!(debug_assertions) {
        let what = "This is a development build: assertions and overflow checks are on.";
        let action = "build with: cargo build --release";
        report.obstacle(1.5, Basis::RuleOfThumb, what, "about 1.5x a packet outside QUIC and crypto", action);
    }
}

fn version(system: &System, report: &mut Report) {
    let text = system.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(['.', '-']).map(|part| part.parse::<u32>());
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        report.unknown.push("the kernel's version: /proc/sys/kernel/osrelease cannot be read".to_owned());
        return;
    };
    if (major, minor) < OLDEST {
        let what =
            format!("Linux {text} is older than 5.11: AF_XDP has no wakeup on need and no busy polling of its own.");
        report.obstacle(2.0, Basis::RuleOfThumb, what, "a system call a batch that others spare", "install Linux 6.x");
    } else if (major, minor) < GOOD {
        let what = format!("Linux {text} is older than 6.0: AF_XDP in many drivers is younger than that.");
        report.obstacle(1.1, Basis::RuleOfThumb, what, "driver dependent", "install Linux 6.x");
    } else {
        report.fine(format!("Linux {text}"));
    }
}

fn rights(system: &System, report: &mut Report) {
    let mask = system.labelled("/proc/self/status", "CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let Some(mask) = mask else {
        report.unknown.push("capabilities: /proc/self/status cannot be read".to_owned());
        return;
    };
    let has = |capability: u32| mask & (1 << capability) != 0;
    if has(CAP_NET_ADMIN) && (has(CAP_BPF) || has(CAP_SYS_ADMIN)) {
        report.fine("CAP_BPF and CAP_NET_ADMIN");
        return;
    }
    let closed = system.number("/proc/sys/kernel/unprivileged_bpf_disabled").is_some_and(|value| value > 0);
    let closed = if closed { "; this kernel closes BPF to all others" } else { "" };
    let what = format!("This user may not load and attach an XDP program (CAP_BPF, CAP_NET_ADMIN){closed}.");
    let action =
        "start the engine as root or by its systemd unit, and run `sudo streams doctor` to see what root can do";
    report.obstacle(60.0, Basis::Stops, what, "no AF_XDP for this user", action);
}
