//! The stages, one file each.

pub mod cpu_isolation;
pub mod folders;
mod hugepages;
mod irq_affinity;
mod irqbalance;
mod limits;
mod nic_queues;
mod offloads;
pub mod rss;
mod sysctls;
#[cfg(test)]
mod tests;

use super::stage::Stage;
use crate::Error;

/// Every stage in the order of `init`: the group comes before what is given to it, the queues before what is set for each.
pub const STAGES: &[&dyn Stage] = &[
    &folders::Folders,
    &hugepages::HugePages,
    &limits::Limits,
    &nic_queues::NicQueues,
    &rss::Rss,
    &offloads::Offloads,
    &irqbalance::IrqBalance,
    &irq_affinity::IrqAffinity,
    &sysctls::Sysctls,
    &cpu_isolation::CpuIsolation,
];

/// The stages of these names, in the order of `init`; all when none is named (or `all`).
pub fn named(names: &[String]) -> Result<Vec<&'static dyn Stage>, Error> {
    if let Some(unknown) =
        names.iter().find(|name| *name != "all" && !STAGES.iter().any(|stage| stage.name() == **name))
    {
        let known: Vec<_> = STAGES.iter().map(|stage| stage.name()).collect();
        return Err(Error::Usage(format!("there is no stage `{unknown}`; the stages are: {}", known.join(", "))));
    }
    let all = names.is_empty() || names.iter().any(|name| name == "all");
    Ok(STAGES.iter().copied().filter(|stage| all || names.iter().any(|name| name == stage.name())).collect())
}
