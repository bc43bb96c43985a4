//! Pages of 2 MiB for the packet frames of AF_XDP: one TLB entry instead of 512.

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::{Knob, MOUNT_MODE};
use crate::configure::plan::{HUGE_PAGE_BYTES, Plan};
use crate::configure::stage::Stage;
use crate::configure::stages::folders::GROUP;
use crate::configure::system::System;

const FOLDER: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// Where the group may make files of huge pages. A mount of its own: that of systemd on /dev/hugepages belongs to root.
pub const MOUNT: &str = "/mnt/streams-hugepages";

/// See the module.
pub struct HugePages;

impl Stage for HugePages {
    fn name(&self) -> &'static str {
        "hugepages"
    }

    fn purpose(&self) -> &'static str {
        "2 MiB pages for the packet frames of AF_XDP"
    }

    fn right(&self) -> &'static str {
        "root (CAP_SYS_ADMIN)"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        if !system.exists(FOLDER) {
            return vec![Item::not_applicable("nr_hugepages", "this kernel or processor has no pages of 2 MiB")];
        }
        if let Err(reason) = &plan.interface {
            return vec![Item::not_applicable("2 MiB pages", format!("they hold the frames of AF_XDP: {reason}"))];
        }
        vec![pages(system, plan), mount(system)]
    }
}

fn pages(system: &System, plan: &Plan) -> Item {
    let needed = plan.huge_bytes().div_ceil(HUGE_PAGE_BYTES);
    let by_hand = format!("sysctl -w vm.nr_hugepages={needed}");
    let knob = Knob::value(format!("{FOLDER}/nr_hugepages"));
    let mut item = Item::of(system, "2 MiB pages", knob, Wanted::AtLeast(needed), &by_hand);
    let free = system.number(format!("{FOLDER}/free_hugepages"));
    let has_some = item.found.parse::<u64>().is_ok_and(|found| found > 0);
    if let (Some(free), true) = (free, has_some) {
        item.found = format!("{} ({free} free)", item.found);
    }
    item.wanted =
        format!("{} ({} MiB a shard)", item.wanted, (plan.huge_bytes() / u64::from(plan.shards.max(1))) >> 20);
    item
}

fn mount(system: &System) -> Item {
    let supported = system.text("/proc/filesystems").is_ok_and(|text| text.contains("hugetlbfs"));
    let name = "hugetlbfs";
    if !supported {
        return Item::not_applicable(name, "this kernel has no hugetlbfs; rings then lie in /dev/shm");
    }
    let by_hand = format!(
        "mkdir -p {MOUNT} && mount -t hugetlbfs -o pagesize=2M,mode={MOUNT_MODE:o},gid={GROUP} streams {MOUNT}"
    );
    let knob = Knob::Hugetlbfs { path: MOUNT.to_owned() };
    let item = Item::of(system, name, knob, Wanted::Exactly(&format!("group {GROUP}")), &by_hand);
    match item.state {
        // A mount of somebody else's is not taken away from under him.
        State::Wrong => Item { change: None, action: format!("umount {MOUNT}, then init again"), ..item },
        _ => item,
    }
}
