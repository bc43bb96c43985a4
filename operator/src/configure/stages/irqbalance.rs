//! irqbalance moves interrupts every 10 s, and would move those that `irq-affinity` has placed.

use super::irq_affinity::queue_interrupts;
use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::{System, cpu_list};

const SERVICE: &str = "irqbalance";

/// See the module.
pub struct IrqBalance;

impl Stage for IrqBalance {
    fn name(&self) -> &'static str {
        "irqbalance"
    }

    fn purpose(&self) -> &'static str {
        "interrupts stay where irq-affinity puts them"
    }

    fn right(&self) -> &'static str {
        "root"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let interface = match &plan.interface {
            Err(reason) => return vec![Item::not_applicable(SERVICE, reason)],
            Ok(interface) => interface,
        };
        if queue_interrupts(system, interface).is_empty() {
            return vec![Item::not_applicable(SERVICE, format!("{interface} has no interrupts of its own"))];
        }
        let banned = banned_cpus(system);
        if !banned.is_empty() && plan.shard_cpus().iter().all(|cpu| banned.contains(cpu)) {
            return vec![Item::plain(SERVICE, State::Ok, "shards' CPUs banned", "stopped, or banned", "")];
        }
        let knob = Knob::Service { name: SERVICE.to_owned() };
        let cpus: Vec<_> = plan.shard_cpus().iter().map(u32::to_string).collect();
        let by_hand = format!(
            "systemctl disable --now irqbalance, or IRQBALANCE_BANNED_CPULIST={} in /etc/default/irqbalance",
            cpus.join(",")
        );
        vec![Item::of(system, SERVICE, knob, Wanted::Exactly("stopped"), &by_hand)]
    }
}

/// Processors that irqbalance is told to keep away from.
fn banned_cpus(system: &System) -> Vec<u32> {
    let text = system.text("/etc/default/irqbalance").unwrap_or_default();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("IRQBALANCE_BANNED_CPULIST="));
    value.map(|list| cpu_list(list.trim_matches(['"', '\'']))).unwrap_or_default()
}
