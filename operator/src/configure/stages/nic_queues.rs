//! As many queues as shards: an AF_XDP socket receives from its own queue alone. Several shards can share a single one.

use crate::configure::finding::{Change, Item, State};
use crate::configure::knob::{Knob, queues_text};
use crate::configure::nic::Channels;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::System;

/// See the module.
pub struct NicQueues;

impl Stage for NicQueues {
    fn name(&self) -> &'static str {
        "nic-queues"
    }

    fn purpose(&self) -> &'static str {
        "one queue of the interface a shard"
    }

    fn right(&self) -> &'static str {
        "root (CAP_NET_ADMIN)"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        match &plan.interface {
            Err(reason) => vec![Item::not_applicable("queues", reason)],
            Ok(interface) => vec![queues(system, plan, interface)],
        }
    }
}

fn queues(system: &System, plan: &Plan, interface: &str) -> Item {
    let setting = format!("{interface} queues");
    let wanted = plan.shards.to_string();
    let channels = match system.host().channels(interface) {
        Ok(channels) => channels,
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return fixed(system, plan, interface),
        Err(error) => return Item::unread(&setting, &error, &wanted),
    };
    let found = format!("{} of {}", channels.receiving(), channels.pairs_max());
    let receiving = channels.receiving();
    if receiving == plan.shards {
        return Item::plain(&setting, State::Ok, found, wanted, "");
    }
    if receiving == 1 && channels.pairs_max() == 1 {
        return shared(&setting, found, wanted);
    }
    if plan.shards > channels.pairs_max() {
        let action = format!("the interface has no more: streams up --shards {}", channels.pairs_max());
        return Item::plain(&setting, State::Wrong, found, wanted, action);
    }
    let by_hand = by_hand(interface, channels, plan.shards);
    if receiving > plan.shards && !plan.lower_queues {
        let action =
            format!("streams up --shards {receiving}, or fewer queues: {by_hand} (init does it with --lower-queues)");
        return Item::plain(&setting, State::Wrong, found, wanted, action);
    }
    let to = queues_text(channels.with_pairs(plan.shards));
    let knob = Knob::Queues { interface: interface.to_owned() };
    let change = Change { knob, to, at_least: false };
    Item { change: Some(change), ..Item::plain(&setting, State::Wrong, found, wanted, by_hand) }
}

fn by_hand(interface: &str, channels: Channels, shards: u32) -> String {
    match channels.combined_max {
        0 => format!("ethtool -L {interface} rx {shards} tx {shards}"),
        _ => format!("ethtool -L {interface} combined {shards}"),
    }
}

/// A driver that has its queues and lets nobody change them.
fn fixed(system: &System, plan: &Plan, interface: &str) -> Item {
    let setting = format!("{interface} queues");
    let names = system.names(format!("/sys/class/net/{interface}/queues"));
    let found = names.iter().filter(|name| name.starts_with("rx-")).count();
    let wanted = plan.shards.to_string();
    let shown = format!("{found} (fixed)");
    match found {
        _ if u32::try_from(found) == Ok(plan.shards) => Item::plain(&setting, State::Ok, shown, wanted, ""),
        1 => shared(&setting, shown, wanted),
        _ => {
            let action = format!("the driver cannot change it: streams up --shards {found}");
            Item::plain(&setting, State::Wrong, shown, wanted, action)
        }
    }
}

/// The only queue of an interface, for several shards.
fn shared(setting: &str, found: String, wanted: String) -> Item {
    let action =
        "all shards share the only queue, which works; faster: a NIC with a queue a shard, or streams up --shards 1";
    Item::plain(setting, State::Hint, found, wanted, action)
}
