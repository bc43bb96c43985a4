//! The stages on made-up machines: check, init, init again, fini.

use std::fs;

use super::*;
use crate::configure::finding::{Item, State};
use crate::configure::journal::Journal;
use crate::configure::knob::Knob;
use crate::configure::nic::Channels;
use crate::configure::plan::Plan;
use crate::configure::stage::{Outcome, Step};
use crate::configure::testing::Machine;

const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// A server as it comes: a NIC of four queues, nothing prepared.
fn server() -> Machine {
    let machine = Machine::new();
    machine.nic("eth0");
    machine.file(PAGES, "0\n");
    machine.file("/etc/group", "");
    machine.file("/proc/filesystems", "nodev\thugetlbfs\n");
    machine.file("/proc/mounts", "proc /proc proc rw 0 0\n");
    machine.file(
        "/proc/self/limits",
        "Limit Soft Hard Units\nMax open files            1024                 4096                 files\n\
         Max locked memory         8388608              8388608              bytes\n",
    );
    for name in ["rmem_max", "wmem_max"] {
        machine.file(&format!("/proc/sys/net/core/{name}"), "212992\n");
    }
    for name in ["napi_defer_hard_irqs", "gro_flush_timeout"] {
        machine.file(&format!("/sys/class/net/eth0/{name}"), "0\n");
    }
    machine.file("/proc/interrupts", " 40: 0 PCI-MSIX eth0-TxRx-0\n 41: 0 PCI-MSIX eth0-TxRx-1\n");
    for number in [40, 41] {
        machine.file(&format!("/proc/irq/{number}/smp_affinity_list"), "0-3\n");
    }
    machine.file("/proc/77/comm", "irqbalance\n");
    machine
}

fn plan(machine: &Machine) -> Plan {
    let mut config = machine.config(2);
    config.engine.poll = streams_config::Poll::Busy;
    Plan::new(&machine.system(), config, None, Some("eth0")).unwrap()
}

fn init(machine: &Machine, names: &[&str]) -> Vec<Step> {
    let (system, plan) = (machine.system(), plan(machine));
    let mut journal = Journal::open(&system, &machine.state()).unwrap();
    let run = |stage: &&'static dyn Stage| stage.init(&system, &plan, &mut journal).unwrap();
    pick(names).iter().flat_map(run).collect()
}

fn fini(machine: &Machine, names: &[&str]) -> Vec<Step> {
    let system = machine.system();
    let mut journal = Journal::open(&system, &machine.state()).unwrap();
    pick(names).iter().rev().flat_map(|stage| stage.fini(&system, &mut journal).unwrap()).collect()
}

fn pick(names: &[&str]) -> Vec<&'static dyn Stage> {
    named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn items(machine: &Machine, name: &str) -> Vec<Item> {
    let (system, plan) = (machine.system(), plan(machine));
    pick(&[name]).iter().flat_map(|stage| stage.items(&system, &plan)).collect()
}

fn open(machine: &Machine) -> Vec<String> {
    let items = STAGES.iter().flat_map(|stage| items(machine, stage.name()));
    items.filter(|item| item.state.is_open()).map(|item| item.setting).collect()
}

#[test]
fn stages_are_found_by_name_in_the_order_of_init() {
    let names: Vec<_> = pick(&["sysctls", "folders", "sysctls"]).iter().map(|stage| stage.name()).collect();
    assert_eq!(names, ["folders", "sysctls"]);
    assert_eq!(pick(&[]).len(), STAGES.len());
    assert_eq!(pick(&["all"]).len(), STAGES.len());
    let Err(error) = named(&["fish".into()]) else { panic!("an unknown stage is refused") };
    assert!(error.to_string().contains("hugepages"), "{error}");
}

#[test]
fn init_prepares_a_server_a_second_one_changes_nothing_and_fini_puts_all_back() {
    let machine = server();
    let before = machine.snapshot();
    let devices = machine.devices.borrow().channels.clone();
    let wrong = open(&machine);
    assert_eq!(machine.snapshot(), before, "a check changes nothing");
    assert!(!machine.state().exists());

    let steps = init(&machine, &[]);
    assert!(steps.iter().all(|step| step.outcome == Outcome::Changed), "{steps:#?}");
    assert_eq!(steps.len(), wrong.len());
    assert_eq!(open(&machine), Vec::<String>::new());
    assert_eq!(machine.text(PAGES).trim(), "64", "64 MiB a shard");
    assert_eq!(machine.devices.borrow().channels["eth0"].combined, 2);
    assert_eq!(machine.text("/proc/irq/41/smp_affinity_list"), "1");
    assert_eq!(machine.devices.borrow().services, [("irqbalance".to_owned(), false)]);
    assert!(machine.text("/etc/security/limits.d/90-streams.conf").contains("@streams - memlock 131072"));

    let (prepared, notes) = (machine.snapshot(), fs::read_to_string(machine.state()).unwrap());
    assert_eq!(init(&machine, &[]), []);
    assert_eq!(machine.snapshot(), prepared);
    assert_eq!(fs::read_to_string(machine.state()).unwrap(), notes);

    let steps = fini(&machine, &[]);
    assert!(steps.iter().all(|step| step.outcome == Outcome::Changed), "{steps:#?}");
    assert_eq!(machine.snapshot(), before);
    assert_eq!(machine.devices.borrow().channels, devices);
    assert_eq!(open(&machine), wrong);
    assert!(!machine.state().exists(), "nothing is noted any more");
}

#[test]
fn what_is_higher_stays() {
    let machine = server();
    machine.file(PAGES, "512");
    machine.file("/proc/sys/net/core/rmem_max", "67108864");
    init(&machine, &["hugepages", "sysctls", "folders"]);
    assert_eq!(machine.text(PAGES), "512");
    assert_eq!(machine.text("/proc/sys/net/core/rmem_max"), "67108864");
    assert_eq!(machine.text("/proc/sys/net/core/wmem_max"), "4194304");
    fini(&machine, &[]);
    assert_eq!(machine.text(PAGES), "512");
}

#[test]
fn fini_touches_only_the_stages_that_are_named() {
    let machine = server();
    init(&machine, &["sysctls", "offloads"]);
    let steps = fini(&machine, &["offloads"]);
    assert!(steps.iter().all(|step| step.stage == "offloads") && !steps.is_empty());
    assert_eq!(machine.text("/proc/sys/net/core/wmem_max"), "4194304");
    fini(&machine, &[]);
    assert_eq!(machine.text("/proc/sys/net/core/wmem_max"), "212992");
}

#[test]
fn an_init_that_was_killed_is_put_back_too() {
    let machine = server();
    let (rmem, wmem) = ("/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max");
    {
        let mut journal = Journal::open(&machine.system(), &machine.state()).unwrap();
        // Killed after the change, and before the change.
        journal.begin("sysctls", &Knob::value(rmem), Some("212992".into())).unwrap();
        machine.file(rmem, "4194304");
        journal.begin("sysctls", &Knob::value(wmem), Some("212992".into())).unwrap();
    }
    let steps = fini(&machine, &[]);
    let outcomes: Vec<_> = steps.iter().map(|step| (step.setting.as_str(), step.outcome)).collect();
    assert_eq!(outcomes, [("net.core.wmem_max", Outcome::Left), ("net.core.rmem_max", Outcome::Changed)]);
    assert_eq!((machine.text(rmem).trim(), machine.text(wmem).trim()), ("212992", "212992"));
    assert!(!machine.state().exists());
}

#[test]
fn fini_has_the_words_of_check() {
    let machine = server();
    let made: Vec<_> = init(&machine, &["sysctls", "hugepages", "folders", "nic-queues"]);
    let undone = fini(&machine, &[]);
    for step in made.iter().filter(|step| step.setting != "hugetlbfs") {
        assert!(undone.iter().any(|other| other.setting == step.setting), "{} in {undone:#?}", step.setting);
    }
}

#[test]
fn what_somebody_else_changed_since_is_left_and_told() {
    let machine = server();
    init(&machine, &["sysctls"]);
    machine.file("/proc/sys/net/core/rmem_max", "999999999");
    let steps = fini(&machine, &[]);
    let step = steps.iter().find(|step| step.setting == "net.core.rmem_max").unwrap();
    assert_eq!(step.outcome, Outcome::Left);
    assert!(step.reason.contains("212992"), "{}", step.reason);
    assert_eq!(machine.text("/proc/sys/net/core/rmem_max"), "999999999");
}

#[test]
fn an_interface_that_is_gone_is_forgotten() {
    let machine = server();
    init(&machine, &["offloads"]);
    fs::remove_dir_all(machine.root().join("sys/class/net/eth0")).unwrap();
    let steps = fini(&machine, &[]);
    assert!(steps.iter().all(|step| step.outcome == Outcome::Left && step.reason.contains("gone")), "{steps:#?}");
    assert!(!machine.state().exists());
}

#[test]
fn a_value_that_is_not_granted_is_a_failure() {
    let machine = server();
    fs::remove_file(machine.root().join(PAGES.trim_start_matches('/'))).unwrap();
    machine.link(PAGES, "/dev/null");
    init(&machine, &["folders"]);
    let steps = init(&machine, &["hugepages"]);
    assert_eq!(steps[0].outcome, Outcome::Failed);
    assert!(steps[0].reason.contains("64"), "{}", steps[0].reason);
}

#[test]
fn more_queues_than_shards_are_lowered_only_when_asked_for() {
    let machine = server();
    let channels = Channels { combined: 4, combined_max: 4, ..Channels::default() };
    machine.devices.borrow_mut().channels.insert("eth0".into(), channels);
    let item = items(&machine, "nic-queues").remove(0);
    assert_eq!((item.state, item.change.is_none()), (State::Wrong, true));
    assert!(
        item.action.contains("--shards 4") && item.action.contains("ethtool -L eth0 combined 2"),
        "{}",
        item.action
    );
    assert_eq!(init(&machine, &["nic-queues"]), []);
    let plan = Plan { lower_queues: true, ..plan(&machine) };
    assert!(pick(&["nic-queues"])[0].items(&machine.system(), &plan)[0].change.is_some());
}

#[test]
fn shards_may_share_the_only_queue() {
    let machine = server();
    let channels = Channels { combined: 1, combined_max: 1, ..Channels::default() };
    machine.devices.borrow_mut().channels.insert("eth0".into(), channels);
    let item = items(&machine, "nic-queues").remove(0);
    assert_eq!((item.state, item.change.is_none()), (State::Hint, true));
    assert!(item.action.contains("share"), "{}", item.action);
}

#[test]
fn kernel_sockets_need_no_huge_pages() {
    let machine = server();
    let plan = Plan::new(&machine.system(), machine.config(2), Some("udp"), None).unwrap();
    let items = pick(&["hugepages"])[0].items(&machine.system(), &plan);
    assert_eq!((items.len(), items[0].state), (1, State::NotApplicable));
}

#[test]
fn an_offload_that_the_driver_keeps_on_is_no_change_of_init() {
    let machine = server();
    let fixed = crate::configure::nic::Feature { active: true, changeable: false };
    machine.devices.borrow_mut().features.insert(("eth0".into(), "rx-gro-hw".into()), fixed);
    let items = items(&machine, "offloads");
    let item = items.iter().find(|item| item.setting.contains("rx-gro-hw")).unwrap();
    assert_eq!((item.state, item.change.is_none()), (State::Wrong, true));
    assert!(item.action.contains("--io udp"), "{}", item.action);
}

#[test]
fn irqbalance_may_run_when_it_keeps_away_from_the_shards() {
    let machine = server();
    machine.file("/etc/default/irqbalance", "# x\nIRQBALANCE_BANNED_CPULIST=\"0-1\"\n");
    assert_eq!(items(&machine, "irqbalance")[0].state, State::Ok);
    machine.file("/etc/default/irqbalance", "IRQBALANCE_BANNED_CPULIST=1\n");
    assert_eq!(items(&machine, "irqbalance")[0].state, State::Wrong);
}

#[test]
fn a_run_folder_of_a_stranger_is_not_made_ours() {
    let machine = server();
    machine.file("/etc/passwd", "root:x:4000000:0:::\nmallory:x:0:0:::\n");
    fs::create_dir(machine.root().join(plan(&machine).run_dir.strip_prefix("/").unwrap())).unwrap();
    let item = items(&machine, "folders").remove(2);
    // Run by root, the folder belongs to the user with the number 0, who is here somebody else than root.
    if rustix::process::geteuid().is_root() {
        assert_eq!((item.state, item.change.is_none()), (State::Wrong, true));
        assert!(item.action.contains("mallory"), "{}", item.action);
    }
}

#[test]
fn a_virtual_device_has_no_interrupts_and_says_so() {
    let machine = server();
    machine.file("/proc/interrupts", "NMI: 0 Non-maskable\n");
    for stage in ["irq-affinity", "irqbalance"] {
        let item = items(&machine, stage).remove(0);
        assert_eq!(item.state, State::NotApplicable);
        assert!(item.action.contains("interrupts"), "{}", item.action);
    }
}

#[test]
fn an_empty_machine_is_checked_without_a_failure() {
    let machine = Machine::new();
    machine.file("/proc/self/status", "");
    let system = machine.system();
    let plan = Plan::new(&system, machine.config(2), Some("udp"), None).unwrap();
    for stage in STAGES {
        let finding = stage.check(&system, &plan);
        assert!(!finding.items.is_empty(), "{}", finding.stage);
        for item in finding.items.iter().filter(|item| item.state != State::Ok) {
            assert!(!item.action.is_empty(), "{}: {item:?}", finding.stage);
        }
    }
}

#[test]
fn what_only_root_may_read_is_unknown() {
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let item = Item::unread("x", &denied, "1");
    assert_eq!(item.state, State::Unknown);
    assert!(item.action.contains("root") && item.action.contains("sudo"), "{}", item.action);
    assert!(!item.state.is_open());
}
