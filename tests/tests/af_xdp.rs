//! AF_XDP on a real interface: what is refused at the start, what a killed engine and a lost interface leave, and viewers whose
//! packets arrive on the wrong queue.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use streams_tests::{Encoder, Film, Namespace, Options, Signal, Stack, Testbed, Watcher, binary, eventually, kill};

const IO: &str = "xdp:pop0";
/// Rights to load programs, and to have the kernel steer frames to a socket.
const RIGHTS: &str = "-sys_admin,-bpf,-perfmon,-net_admin,-net_raw";

fn options(testbed: &Testbed, shards: usize) -> Options {
    Options { namespace: testbed.pop.clone(), host: Testbed::POP_IPV4, io: IO.into(), shards, ..Options::default() }
}

/// A fresh data directory, removed when it drops.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("streams-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `streams up` on the default ports, behind `before`, until it ends.
fn up(pop: &Namespace, before: &[&str], folder: &Folder, io: &str, shards: usize) -> Output {
    let mut command = match before {
        [] => pop.command(binary("streams")),
        [program, arguments @ ..] => {
            let mut command = pop.command(program);
            command.args(arguments).arg(binary("streams"));
            command
        }
    };
    command.args(["up", "--host", "198.51.100.1", "--io", io, "--shards", &shards.to_string()]);
    command.env("STREAMS_DATA", &folder.0).stdin(Stdio::null()).output().expect("streams up runs")
}

fn refused(output: &Output, wanted: &[&str]) {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started: {words}");
    let line = words.lines().find(|line| line.contains("--io xdp")).unwrap_or_else(|| panic!("no such line: {words}"));
    for part in wanted {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

/// Whether the interface of the engine's side has a program.
fn has_program(pop: &Namespace) -> bool {
    let output = pop.command("ip").args(["-details", "link", "show", "pop0"]).output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout).contains("xdp")
}

#[test]
fn what_cannot_be_is_refused_with_one_clear_line_and_leaves_nothing_behind() {
    let test = "what_cannot_be_is_refused_with_one_clear_line_and_leaves_nothing_behind";
    let Some(testbed) = Testbed::up(test, 2, &[]) else { return };
    let folder = Folder::new("refused");
    let pop = &testbed.pop;
    refused(&up(pop, &[], &folder, "xdp:no0", 2), &["no network interface `no0`"]);
    refused(&up(pop, &[], &folder, IO, 4), &["2 receive queues", "4 shards", "ethtool -L pop0 combined 4"]);
    assert!(!has_program(pop), "a refused start left a program");
    let bounding = ["setpriv", "--bounding-set", RIGHTS];
    refused(&up(pop, &bounding, &folder, IO, 2), &["CAP_BPF"]);

    let first = Stack::start(&options(&testbed, 2));
    refused(&up(pop, &[], &folder, IO, 2), &["another XDP program is attached to pop0"]);
    assert!(has_program(pop));
    drop(first);
    eventually("an engine that ended leaves no program", || !has_program(pop));
}

#[test]
fn a_killed_engine_leaves_no_program_and_the_next_one_serves() {
    let Some(testbed) = Testbed::up("a_killed_engine_leaves_no_program_and_the_next_one_serves", 2, &[]) else {
        return;
    };
    let stack = Stack::start(&options(&testbed, 2));
    let input = stack.live("killed");
    let first = stack.engine_pid();
    kill(first, Signal::KILL);
    // Its program would be in the way of the one that the launcher starts next.
    eventually("another engine runs", || stack.engine_pid() != first);
    eventually("its program is attached", || has_program(&testbed.pop));
    let _encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut watcher = testbed.net.inside(|| Watcher::start(&stack, &input));
    watcher.objects(50);
    drop(watcher);
    drop(stack);
    assert!(!has_program(&testbed.pop), "an engine that ended left its program");
}

#[test]
fn an_engine_whose_interface_vanishes_ends_with_one_clear_line() {
    let test = "an_engine_whose_interface_vanishes_ends_with_one_clear_line";
    let Some(testbed) = Testbed::up(test, 2, &[]) else { return };
    let stack = Stack::start(&options(&testbed, 2));
    let deleted = testbed.pop.command("ip").args(["link", "delete", "pop0"]).status().expect("ip runs");
    assert!(deleted.success());
    // The launcher goes on trying: an interface may come back.
    eventually("the launcher tells why the engine ended", || {
        let printed = stack.printed();
        printed.lines().any(|line| line.contains("the way to the wire is lost: the interface is gone"))
    });
}

/// Viewers with addresses that change, over `queues` queues: nothing is missing, and what the program redirected has arrived.
fn roams(testbed: &Testbed, shards: usize) {
    let stack = Stack::start(&options(testbed, shards));
    let input = stack.live("roaming");
    let _encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Gop2s);
    stack.wait_status(&input, "active");
    let metric = |name: &str| stack.metric(&format!("streams_engine_{name}_total"));
    for _ in 0..3 {
        let mut watcher = testbed.net.inside(|| Watcher::start(&stack, &input));
        watcher.objects(25);
        for _ in 0..8 {
            testbed.net.inside(|| watcher.moqt.rebind());
            watcher.objects(10);
        }
        watcher.objects(50);
        watcher.nothing_missing();
    }
    eventually("each new address is proven", || metric("migrations") == 24.0);
    eventually("what was redirected has arrived", || {
        let redirected = metric("xdp_redirected");
        redirected > 0.0 && redirected == metric("xdp_received")
    });
    assert_eq!(metric("connections_accepted"), 3.0, "they are still the first connections");
    assert_eq!(metric("xdp_no_metadata"), 0.0);
    if testbed_queues(testbed) > 1 {
        assert!(metric("toss_out") > 0.0, "no packet of an address that changed came to another queue");
        eventually("the monitor sees that toss links are read to their end", || {
            let seen = stack.json(&["monitor", "--once", "--interval", "200ms"]);
            let links = seen["links"].as_array().expect("links").clone();
            let mut tosses =
                links.iter().filter(|link| link["link"].as_str().is_some_and(|name| name.starts_with("toss.")));
            let used = tosses.clone().any(|link| link["published_frags"].as_u64().is_some_and(|frags| frags > 0));
            used && tosses.all(|link| link["lag_frags"] == 0 && link["overrun_frags"] == 0)
        });
    }
}

fn testbed_queues(testbed: &Testbed) -> usize {
    let output = testbed.pop.command("ls").arg("/sys/class/net/pop0/queues").output().expect("ls runs");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("rx-")).count()
}

#[test]
fn viewers_roam_over_the_queues_of_four_shards() {
    let Some(testbed) = Testbed::up("viewers_roam_over_the_queues_of_four_shards", 4, &[]) else { return };
    roams(&testbed, 4);
}

#[test]
fn three_shards_share_the_only_queue() {
    let Some(testbed) = Testbed::up("three_shards_share_the_only_queue", 1, &[]) else { return };
    roams(&testbed, 3);
}

#[test]
fn auto_takes_kernel_sockets_where_frames_would_be_copied_and_says_why() {
    let test = "auto_takes_kernel_sockets_where_frames_would_be_copied_and_says_why";
    let Some(testbed) = Testbed::up(test, 2, &[]) else { return };
    let stack = Stack::start(&Options { io: "auto".into(), ..options(&testbed, 2) });
    let log = std::fs::read_to_string(stack.data.join("log/engine.log")).expect("the engine's log");
    assert!(log.contains("kernel sockets carry all packets: "), "{log}");
    assert!(log.contains("copies each packet"), "{log}");
    assert!(!has_program(&testbed.pop));
}
