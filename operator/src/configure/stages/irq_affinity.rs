//! The interrupt of queue i on the processor of shard i: the frames are then in that core's cache.

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::System;

/// See the module.
pub struct IrqAffinity;

impl Stage for IrqAffinity {
    fn name(&self) -> &'static str {
        "irq-affinity"
    }

    fn purpose(&self) -> &'static str {
        "each queue's interrupt on the CPU of its shard"
    }

    fn right(&self) -> &'static str {
        "root"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let interface = match &plan.interface {
            Err(reason) => return vec![Item::not_applicable("smp_affinity_list", reason)],
            Ok(interface) => interface,
        };
        let interrupts = queue_interrupts(system, interface);
        if interrupts.is_empty() {
            let reason = "a virtual device has no interrupts: packets arrive on the sender's CPU";
            let reason = match system.exists(format!("/sys/class/net/{interface}/device")) {
                true => "no interrupt of a queue is listed in /proc/interrupts",
                false => reason,
            };
            return vec![Item::not_applicable("smp_affinity_list", reason)];
        }
        interrupts.iter().filter_map(|interrupt| affinity(system, plan, interrupt)).collect()
    }
}

fn affinity(system: &System, plan: &Plan, interrupt: &Interrupt) -> Option<Item> {
    // A queue without a shard has no processor to be on.
    if interrupt.queue >= plan.shards {
        return None;
    }
    let setting = format!("irq {} ({})", interrupt.number, interrupt.name);
    let Some(cpu) = plan.cpu_of(interrupt.queue) else {
        return Some(Item::plain(&setting, State::Unknown, "", "", "/proc/self/status does not tell the CPUs"));
    };
    let path = format!("/proc/irq/{}/smp_affinity_list", interrupt.number);
    let by_hand = format!("echo {cpu} > {path}");
    Some(Item::of(system, &setting, Knob::value(path), Wanted::Exactly(&cpu.to_string()), &by_hand))
}

/// The interrupt of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// The name that the driver gave it.
    pub name: String,
    /// The queue.
    pub queue: u32,
}

/// The interrupts of an interface's queues. Drivers name them after the interface (`eth0-TxRx-3`), the device
/// (`virtio2-input.0`) or its bus address (`mlx5_comp3@pci:0000:01:00.0`); the queue is the last number of the name.
pub fn queue_interrupts(system: &System, interface: &str) -> Vec<Interrupt> {
    let device = format!("/sys/class/net/{interface}/device");
    let own: Vec<u32> = system.names(format!("{device}/msi_irqs")).iter().filter_map(|irq| irq.parse().ok()).collect();
    let bus_name = system.link_name(&device);
    let text = system.text("/proc/interrupts").unwrap_or_default();
    let mut found: Vec<Interrupt> = text
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let number = number.trim().parse().ok()?;
            let name = rest.split_whitespace().last()?;
            let named = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['-', '.', ':']));
            let ours = own.contains(&number)
                || named(interface)
                || bus_name.as_deref().is_some_and(|bus| named(bus) || name.ends_with(&format!("@pci:{bus}")));
            let queue = if ours { queue_of(name.split('@').next()?)? } else { return None };
            Some(Interrupt { number, name: name.to_owned(), queue })
        })
        .collect();
    found.sort_by_key(|interrupt| interrupt.queue);
    found
}

/// The number at the end of a name; interrupts without one (`virtio2-config`) serve no queue.
fn queue_of(name: &str) -> Option<u32> {
    let digits = name.len() - name.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    // A name of the bare interface (`eth0`) is the one interrupt of a device without queues.
    let has_separator = name.contains(['-', '.', ':', '_']);
    name.get(name.len() - digits..).filter(|_| has_separator)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::testing::Machine;

    #[test]
    fn interrupts_are_found_by_every_way_of_naming_them() {
        let machine = Machine::new();
        machine.interface("eth0");
        machine.file("/sys/devices/pci0/0000:01:00.0/msi_irqs/61", "");
        machine.link("/sys/class/net/eth0/device", "../../../devices/pci0/0000:01:00.0");
        machine.file(
            "/proc/interrupts",
            "           CPU0  CPU1\n 50:  0  0  PCI-MSI 1-edge  virtio2-input.0\n 51: 0 0 PCI-MSI 0-edge virtio2-config\n \
             60:  0  0  PCI-MSIX  eth0-TxRx-0\n 61:  7  0  PCI-MSIX  i40e-queue-1\n \
             62:  0  0  PCI-MSIX  mlx5_comp2@pci:0000:01:00.0\n 63: 0 0 PCI-MSIX eth01-rx-3\nNMI:  0  0  Non-maskable\n",
        );
        let found = queue_interrupts(&machine.system(), "eth0");
        let found: Vec<_> = found.iter().map(|interrupt| (interrupt.number, interrupt.queue)).collect();
        assert_eq!(found, [(60, 0), (61, 1), (62, 2)]);
    }

    #[test]
    fn names_without_a_queue_are_left_out() {
        assert_eq!(queue_of("virtio2-output.1"), Some(1));
        assert_eq!(queue_of("virtio2-config"), None);
        assert_eq!(queue_of("eth0"), None);
        assert_eq!(queue_of("mlx5_async"), None);
    }
}
