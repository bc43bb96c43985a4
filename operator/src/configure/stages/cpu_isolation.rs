//! Cores that only the shards use. These are decided at boot or by the machine's owner, so this stage only hints.

use crate::configure::finding::{Item, State};
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::{System, cpu_list};

/// See the module.
pub struct CpuIsolation;

impl Stage for CpuIsolation {
    fn name(&self) -> &'static str {
        "cpu-isolation"
    }

    fn purpose(&self) -> &'static str {
        "nothing else on the shards' cores (hints only)"
    }

    fn right(&self) -> &'static str {
        "nothing: it changes nothing"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let mut items = vec![kernel_flag(system, plan, "isolated", "isolcpus")];
        items.push(kernel_flag(system, plan, "nohz_full", "nohz_full"));
        items.push(governor(system, plan));
        items
    }
}

fn kernel_flag(system: &System, plan: &Plan, file: &str, flag: &str) -> Item {
    let Ok(found) = system.text(format!("/sys/devices/system/cpu/{file}")) else {
        return Item::not_applicable(flag, "this kernel is built without it");
    };
    let isolated = cpu_list(&found);
    let cpus = plan.shard_cpus();
    let wanted = cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    if cpus.iter().all(|cpu| isolated.contains(cpu)) {
        return Item::plain(flag, State::Ok, found, wanted, "");
    }
    if cpus.len() == plan.cpus.len() {
        let reason = "shards have every core: nothing is left for the rest of the machine";
        return Item::plain(flag, State::NotApplicable, found, "", reason);
    }
    let action = format!("kernel command line: {flag}={wanted}, then restart");
    let found = if found.is_empty() { "none".to_owned() } else { found };
    Item::plain(flag, State::Hint, found, wanted, action)
}

/// The frequency governor of the shards' processors.
pub fn governor(system: &System, plan: &Plan) -> Item {
    let governor = |cpu: &u32| system.text(format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")).ok();
    let mut found: Vec<String> = plan.shard_cpus().iter().filter_map(governor).collect();
    found.sort();
    found.dedup();
    let wanted = "performance";
    match found.as_slice() {
        [] => Item::not_applicable("governor", "the machine does not let its frequency be chosen (often a VM)"),
        [only] if only == wanted => Item::plain("governor", State::Ok, wanted, wanted, ""),
        _ => Item::plain("governor", State::Hint, found.join(", "), wanted, "cpupower frequency-set -g performance"),
    }
}
