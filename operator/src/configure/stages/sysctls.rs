//! Kernel settings: socket buffers of the udp backend, and what busy polling needs of the device. The engine asks for busy polling
//! on its own sockets, so the defaults of all sockets (net.core.busy_poll, net.core.busy_read) stay alone.

use std::os::unix::fs::PermissionsExt;

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::System;

/// The socket buffer that the engine's `udp` backend asks for (SOCKET_BUFFER_LEN of engine/src/backend/udp.rs).
const SOCKET_BUFFER_BYTES: u64 = 4 << 20;
/// Polls without a packet before interrupts come back. 2 is what AF_XDP's documentation uses with busy polling.
const DEFER_HARD_IRQS: u64 = 2;
/// Nanoseconds until the kernel polls a queue that nobody polled: long enough for a shard's turn, short for a dead one.
const GRO_FLUSH_TIMEOUT_NS: u64 = 200_000;

/// See the module.
pub struct Sysctls;

impl Stage for Sysctls {
    fn name(&self) -> &'static str {
        "sysctls"
    }

    fn purpose(&self) -> &'static str {
        "socket buffers, busy polling of the device"
    }

    fn right(&self) -> &'static str {
        "root (CAP_NET_ADMIN)"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let mut items = vec![
            sysctl(system, "net.core.rmem_max", SOCKET_BUFFER_BYTES),
            sysctl(system, "net.core.wmem_max", SOCKET_BUFFER_BYTES),
        ];
        if !plan.busy {
            items.push(Item::not_applicable("busy polling", "shards sleep when idle (engine.poll is adaptive)"));
            return items;
        }
        match &plan.interface {
            Err(reason) => items.push(Item::not_applicable("napi_defer_hard_irqs", reason)),
            Ok(interface) => {
                items.push(of_device(system, interface, "napi_defer_hard_irqs", DEFER_HARD_IRQS));
                items.push(of_device(system, interface, "gro_flush_timeout", GRO_FLUSH_TIMEOUT_NS));
            }
        }
        items
    }
}

fn sysctl(system: &System, name: &str, least: u64) -> Item {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let real = system.path(&path);
    let item = Item::of(system, name, Knob::value(path), Wanted::AtLeast(least), &format!("sysctl -w {name}={least}"));
    // A network namespace shows the host's value and cannot set it.
    let read_only = std::fs::metadata(real).is_ok_and(|file| file.permissions().mode() & 0o200 == 0);
    match item.state {
        State::Wrong if read_only => {
            Item { change: None, action: format!("on the host: sysctl -w {name}={least}"), ..item }
        }
        _ => item,
    }
}

fn of_device(system: &System, interface: &str, name: &str, least: u64) -> Item {
    let path = format!("/sys/class/net/{interface}/{name}");
    let by_hand = format!("echo {least} > {path}");
    Item::of(system, &format!("{interface} {name}"), Knob::value(path), Wanted::AtLeast(least), &by_hand)
}
