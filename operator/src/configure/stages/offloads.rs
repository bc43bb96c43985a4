//! Offloads that merge datagrams, or expect others to split them: a frame of AF_XDP is one datagram, never a train of them.

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::System;

/// The kernel's names, and what each does to a frame.
const OFFLOADS: [&str; 6] = [
    // The hardware merges: what arrives in the frame is longer than a packet, and many drivers refuse XDP with it.
    "rx-lro",
    "rx-gro-hw",
    // The kernel merges, for what XDP passes on; on virtual devices trains then go round XDP whole.
    "rx-gro",
    "rx-gro-list",
    "rx-udp-gro-forwarding",
    // A train that a driver would split arrives unsplit on a virtual peer.
    "tx-udp-segmentation",
];

/// See the module.
pub struct Offloads;

impl Stage for Offloads {
    fn name(&self) -> &'static str {
        "offloads"
    }

    fn purpose(&self) -> &'static str {
        "no merged datagrams in AF_XDP frames"
    }

    fn right(&self) -> &'static str {
        "root (CAP_NET_ADMIN)"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        match &plan.interface {
            Err(reason) => vec![Item::not_applicable("gro, lro, udp gso", reason)],
            Ok(interface) => OFFLOADS.iter().filter_map(|name| offload(system, interface, name)).collect(),
        }
    }
}

fn offload(system: &System, interface: &str, name: &str) -> Option<Item> {
    let setting = format!("{interface} {name}");
    let feature = match system.host().feature(interface, name) {
        Ok(Some(feature)) => feature,
        // Not in this kernel, so it cannot be on.
        Ok(None) => return None,
        Err(error) => return Some(Item::unread(&setting, &error, "off")),
    };
    if feature.active && !feature.changeable {
        let action = "the driver keeps it on: use --io udp on this interface";
        return Some(Item::plain(&setting, State::Wrong, "on (fixed)", "off", action));
    }
    let knob = Knob::Offload { interface: interface.to_owned(), feature: name.to_owned() };
    let by_hand = format!("ethtool -K {interface} {name} off");
    Some(Item::of(system, &setting, knob, Wanted::Exactly("off"), &by_hand))
}
