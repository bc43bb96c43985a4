//! Receive-side scaling by addresses and ports: by addresses alone, all viewers behind one address land on one shard.

use std::io::ErrorKind;

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::nic::Flow;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::System;

/// Source and destination address, source and destination port.
const FOUR_TUPLE: &str = "sdfn";

/// See the module.
pub struct Rss;

impl Stage for Rss {
    fn name(&self) -> &'static str {
        "rss"
    }

    fn purpose(&self) -> &'static str {
        "UDP spread over the queues by addresses and ports"
    }

    fn right(&self) -> &'static str {
        "root (CAP_NET_ADMIN)"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        match &plan.interface {
            Err(reason) => vec![Item::not_applicable("udp4, udp6", reason)],
            Ok(interface) if system.host().channels(interface).is_ok_and(|channels| channels.pairs_max() == 1) => {
                vec![Item::not_applicable("udp4, udp6", format!("{interface} has one queue: nothing to spread over"))]
            }
            Ok(_) if plan.shards == 1 => vec![Item::not_applicable("udp4, udp6", "one shard needs no spreading")],
            Ok(interface) => [Flow::Udp4, Flow::Udp6].map(|flow| hash(system, interface, flow)).into(),
        }
    }
}

fn hash(system: &System, interface: &str, flow: Flow) -> Item {
    let setting = format!("{interface} rx-flow-hash {}", flow.name());
    let knob = Knob::FlowHash { interface: interface.to_owned(), flow };
    let by_hand = format!("ethtool -N {interface} rx-flow-hash {} {FOUR_TUPLE}", flow.name());
    match knob.read(system) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let driver = driver(system, interface);
            Item::not_applicable(&setting, format!("driver {driver} has no hash to choose"))
        }
        // A kernel before 6.17 tells it to the `ethtool` program alone.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let action = format!("apt install ethtool, then: ethtool -n {interface} rx-flow-hash {}", flow.name());
            Item::plain(&setting, State::Unknown, "", FOUR_TUPLE, action)
        }
        _ => Item::of(system, &setting, knob, Wanted::Exactly(FOUR_TUPLE), &by_hand),
    }
}

/// The driver's name, as far as sysfs tells it.
pub fn driver(system: &System, interface: &str) -> String {
    let folder = format!("/sys/class/net/{interface}");
    if let Some(driver) = system.link_name(format!("{folder}/device/driver")) {
        return driver;
    }
    // A device without hardware has no such link; a veth has a peer, which its two indexes show.
    let index = |file| system.number(format!("{folder}/{file}"));
    match (index("ifindex"), index("iflink")) {
        _ if interface == "lo" => "loopback".to_owned(),
        (Some(own), Some(peer)) if own != peer => "veth".to_owned(),
        _ => "of a virtual device".to_owned(),
    }
}
