//! The packet path: which backend, what the driver can do, taken ports.

use std::fs::{File, TryLockError};
use std::path::Path;

use streams_control::endpoints::{Endpoints, ports};

use super::{Basis, Report};
use crate::configure::nic::XdpFeatures;
use crate::configure::plan::Plan;
use crate::configure::stages::rss::driver;
use crate::configure::system::System;
use crate::monitor::polled_queues;

/// Drivers that are known for zero-copy AF_XDP, for kernels that do not tell it themselves (before 6.3).
const ZERO_COPY_DRIVERS: [&str; 7] = ["i40e", "ice", "igc", "ixgbe", "mlx5_core", "nfp", "stmmac"];
/// Drivers that are known for native XDP with a copy.
const NATIVE_DRIVERS: [&str; 11] =
    ["veth", "virtio_net", "bnxt_en", "ena", "igb", "mlx4_en", "qede", "sfc", "tun", "hv_netvsc", "atlantic"];

pub fn examine(system: &System, plan: &Plan, report: &mut Report) {
    match &plan.interface {
        Ok(interface) => device(system, plan, interface, report),
        Err(reason) => {
            let what = format!("Packets go through kernel sockets: {reason}.");
            let cost = "kernel UDP with GSO: 0.13 to 1.5 us a packet beside about 1.2 us of QUIC, so up to 2x";
            report.obstacle(2.0, Basis::Measured, what, cost, better_device(system));
        }
    }
    busy_ports(plan, report);
}

fn device(system: &System, plan: &Plan, interface: &str, report: &mut Report) {
    let driver = driver(system, interface);
    let folder = format!("/sys/class/net/{interface}");
    if system.text(format!("{folder}/operstate")).is_ok_and(|state| state == "down") {
        let action = format!("ip link set {interface} up, and look at its cable");
        report.obstacle(100.0, Basis::Stops, format!("{interface} is down."), "no packets at all", action);
    }
    let index = system.number(format!("{folder}/ifindex")).and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
    let (features, source) = match system.host().xdp_features(index) {
        Ok(features) => (features, "the kernel says so"),
        Err(_) => (by_name(&driver), "by the driver's name; Linux 6.3 or newer would tell"),
    };
    let copy_cost = "AF_XDP with a copy builds a kernel packet for each: 5.5 us on veth, against 0.3 us for copy and \
                     encryption; about 350 viewers of 5 Mbit/s a core instead of thousands";
    let action = "use a NIC with zero-copy AF_XDP (ice, i40e, mlx5, ixgbe, igc), or --io udp here, whose GSO is faster than copy mode";
    if !features.redirect {
        let what = format!("{interface} (driver {driver}) has no native XDP ({source}).");
        report.obstacle(20.0, Basis::Measured, what, copy_cost, action);
    } else if !features.zero_copy {
        let what = format!("{interface} (driver {driver}) has native XDP and no zero-copy ({source}).");
        report.obstacle(18.0, Basis::Measured, what, copy_cost, action);
    } else {
        report.fine(format!("{interface} ({driver}): zero-copy AF_XDP ({source})"));
    }
    let speed = system.text(format!("{folder}/speed")).ok().and_then(|speed| speed.parse::<i64>().ok());
    if let Some(mbps) = speed.filter(|mbps| *mbps > 0) {
        report.fine(format!("{interface} link {mbps} Mbit/s for {} shards", plan.shards));
    }
    busy_polling(plan, report);
}

/// Whether shards that never sleep also spare the interrupts of their queues. Only a running engine knows.
fn busy_polling(plan: &Plan, report: &mut Report) {
    if !plan.busy {
        return;
    }
    let cost = "an interrupt each few packets, on the shard's own core: about 1.15x";
    if plan.config.engine.xdp_busy_poll_us == 0 {
        let what = "Busy polling of the queues is switched off: engine.xdp_busy_poll_us is 0.";
        return report.obstacle(1.15, Basis::RuleOfThumb, what, cost, "set it to 20");
    }
    let running = is_running(&plan.config.server.data).then(|| polled_queues(&plan.run_dir)).flatten();
    let Some((polled, shards)) = running else {
        let line = "busy polling of the queues: no engine runs; `streams monitor` shows it once one does";
        return report.unknown.push(line.to_owned());
    };
    if polled == shards {
        return report.fine("the running engine polls its queues");
    }
    let what = format!("{polled} of {shards} shards of the running engine poll their queue.");
    let action =
        "its log says why (`no busy polling`); start it with --io xdp:IFACE --poll busy as root or by its unit";
    report.obstacle(1.15, Basis::RuleOfThumb, what, cost, action);
}

/// What to do about kernel sockets: the interfaces that could do better, when there are any.
fn better_device(system: &System) -> String {
    let able = |name: &String| {
        let index = system.number(format!("/sys/class/net/{name}/ifindex")).and_then(|index| u32::try_from(index).ok());
        index.is_some_and(|index| system.host().xdp_features(index).is_ok_and(|features| features.zero_copy))
    };
    match system.names("/sys/class/net").into_iter().find(able) {
        None => {
            "with a NIC that has zero-copy AF_XDP (ice, i40e, mlx5, ixgbe, igc): streams up --io xdp:IFACE".to_owned()
        }
        Some(name) => format!(
            "the driver of {name} ({}) says that it has zero-copy AF_XDP: `streams doctor --interface {name}` tells what it \
             needs, then: streams up --io xdp:{name}",
            driver(system, &name)
        ),
    }
}

fn by_name(driver: &str) -> XdpFeatures {
    let zero_copy = ZERO_COPY_DRIVERS.contains(&driver);
    XdpFeatures { redirect: zero_copy || NATIVE_DRIVERS.contains(&driver), zero_copy }
}

fn busy_ports(plan: &Plan, report: &mut Report) {
    if is_running(&plan.config.server.data) {
        report.fine("the ports are those of the Streams that runs on this data directory");
        return;
    }
    match ports::check(&Endpoints::new(&plan.config), false) {
        Ok(()) => report.fine("ports free"),
        Err(error) => {
            let action = "see who has it: ss -tulpn; no harm if it is Streams on another data directory";
            report.obstacle(
                50.0,
                Basis::Stops,
                format!("A port is taken: {error}."),
                "the engine does not start",
                action,
            );
        }
    }
}

/// Whether `streams up`, or a control process that a service manager started, holds the data directory.
fn is_running(data: &Path) -> bool {
    ["up.lock", "control.lock"].into_iter().any(|name| {
        let lock = File::open(data.join(name));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_launcher_or_a_control_process_of_a_service_counts_as_running() {
        for name in ["up.lock", "control.lock"] {
            let scratch = Scratch::new();
            let held = File::create(scratch.path().join(name)).unwrap();
            assert!(!is_running(scratch.path()), "{name} is left behind, nobody holds it");
            held.lock().unwrap();
            assert!(is_running(scratch.path()), "{name} is held");
        }
    }

    #[test]
    fn unknown_drivers_are_believed_to_have_nothing() {
        assert_eq!(by_name("ice"), XdpFeatures { redirect: true, zero_copy: true });
        assert_eq!(by_name("veth"), XdpFeatures { redirect: true, zero_copy: false });
        assert_eq!(by_name("tg3"), XdpFeatures::default());
    }
}
