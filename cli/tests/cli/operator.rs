//! `streams configure` and `streams doctor` as an operator runs them, on a veth pair in a network namespace of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The stages that only touch the namespace's own devices. No other may be run with `init` here: it is the host's.
const OF_THE_DEVICE: [&str; 2] = ["offloads", "sysctls"];

/// A network namespace with a veth pair of two queues, and a folder; all of it goes with the test.
struct Testbed {
    name: String,
    folder: PathBuf,
    streams: PathBuf,
}

impl Testbed {
    /// `None` where this user may not make one: the test then says that it did not run.
    fn new(test: &str) -> Option<Self> {
        let name = format!("streams-{test}-{}", std::process::id());
        let added = Command::new("ip").args(["netns", "add", &name]).output();
        if !added.is_ok_and(|output| output.status.success()) {
            eprintln!("NOT RUN: {test}: it needs root and `ip netns`");
            return None;
        }
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        // Where the build lies, another user may not look.
        let streams = folder.join("streams");
        let built = env!("CARGO_BIN_EXE_streams");
        fs::hard_link(built, &streams).or_else(|_| fs::copy(built, &streams).map(drop)).unwrap();
        let bed = Self { name, folder, streams };
        let veth = "link add sv0 numrxqueues 2 numtxqueues 2 type veth peer name sv1 numrxqueues 2 numtxqueues 2";
        for line in [veth, "link set sv0 up", "link set sv1 up"] {
            let made = bed.inside("ip", &line.split(' ').collect::<Vec<_>>());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        Some(bed)
    }

    fn inside(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.name, program]).args(arguments).output().unwrap()
    }

    fn state(&self) -> PathBuf {
        self.folder.join("configure.json")
    }

    /// `streams configure VERB` of the device's stages.
    fn configure(&self, verb: &str, more: &[&str]) -> Output {
        self.inside(self.streams.to_str().unwrap(), &self.arguments(verb, more))
    }

    /// The same as a user without rights.
    fn configure_as_nobody(&self, verb: &str, more: &[&str]) -> Output {
        let mut arguments = vec!["--reuid=65534", "--regid=65534", "--clear-groups", self.streams.to_str().unwrap()];
        arguments.extend(self.arguments(verb, more));
        self.inside("setpriv", &arguments)
    }

    fn arguments<'a>(&'a self, verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["configure", verb, "--data", self.folder.to_str().unwrap()];
        if verb != "fini" {
            arguments.extend(["--interface", "sv0", "--shards", "2", "--poll", "busy"]);
        }
        arguments.extend(more);
        arguments.extend(OF_THE_DEVICE);
        arguments
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// The items of one stage.
fn items<'a>(checked: &'a Value, stage: &str) -> Vec<&'a Value> {
    let stages = checked["stages"].as_array().unwrap().iter().filter(|found| found["stage"] == stage);
    stages.flat_map(|found| found["items"].as_array().unwrap()).collect()
}

fn found<'a>(checked: &'a Value, stage: &str, setting: &str) -> &'a str {
    let items = items(checked, stage);
    let item = items.iter().find(|item| item["setting"].as_str().unwrap().contains(setting)).unwrap();
    item["found"].as_str().unwrap()
}

#[test]
fn a_veth_is_prepared_and_put_back() {
    let Some(bed) = Testbed::new("prepared") else { return };
    let state = bed.state();
    let notes = ["--json", "--state", state.to_str().unwrap()];

    let before = bed.configure("check", &["--json"]);
    assert_eq!(before.status.code(), Some(1), "something must be done");
    let before = json(&before);
    assert_eq!(before["ok"], false);
    assert_eq!(found(&before, "offloads", "tx-udp-segmentation"), "on");
    assert_eq!(found(&before, "sysctls", "napi_defer_hard_irqs"), "0");
    assert!(!state.exists(), "a check writes nothing");

    let made = bed.configure("init", &notes);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = json(&made);
    assert!(made["steps"].as_array().unwrap().iter().all(|step| step["outcome"] == "changed"), "{made:#}");
    let after = json(&bed.configure("check", &["--json"]));
    assert_eq!(found(&after, "offloads", "tx-udp-segmentation"), "off");
    assert_eq!(found(&after, "sysctls", "gro_flush_timeout"), "200000");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);

    let noted = fs::read_to_string(&state).unwrap();
    let again = json(&bed.configure("init", &notes));
    assert_eq!(again["steps"].as_array().unwrap().len(), 0, "{again:#}");
    assert_eq!(fs::read_to_string(&state).unwrap(), noted, "the first values are kept");

    // From outside the namespace its devices cannot be put back, and their notes must not be lost.
    let outside = Command::new(&bed.streams).args(bed.arguments("fini", &notes)).output().unwrap();
    assert_eq!(outside.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&state).unwrap(), noted);

    let undone = bed.configure("fini", &notes);
    assert!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stderr));
    assert_eq!(json(&bed.configure("check", &["--json"]))["stages"], before["stages"]);
    assert!(!state.exists());
}

#[test]
fn a_check_needs_no_root_and_init_says_which_right_it_needs() {
    let Some(bed) = Testbed::new("nobody") else { return };
    let as_root = json(&bed.configure("check", &["--json"]));
    let as_nobody = bed.configure_as_nobody("check", &["--json"]);
    assert_eq!(as_nobody.status.code(), Some(1));
    assert_eq!(json(&as_nobody)["stages"], as_root["stages"], "nobody sees the same");

    let state = bed.state();
    let refused = bed.configure_as_nobody("init", &["--state", state.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("`offloads`") && said.contains("CAP_NET_ADMIN") && said.contains("sudo"), "{said}");
    assert_eq!(json(&bed.configure("check", &["--json"])), as_root, "nothing was changed");
}

#[test]
fn what_a_veth_has_not_is_not_applicable_with_the_reason() {
    let Some(bed) = Testbed::new("veth") else { return };
    let arguments = ["configure", "check", "--json", "--interface", "sv0", "--shards", "2", "--data"];
    let mut arguments = arguments.to_vec();
    arguments.push(bed.folder.to_str().unwrap());
    let checked = json(&bed.inside(bed.streams.to_str().unwrap(), &arguments));
    for stage in ["rss", "irq-affinity", "irqbalance"] {
        for item in items(&checked, stage) {
            assert_eq!(item["state"], "not_applicable", "{stage}: {item}");
            assert!(!item["action"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(found(&checked, "nic-queues", "sv0 queues"), "2 of 2");

    let doctor = ["doctor", "--json", "--interface", "sv0", "--shards", "2", "--data", bed.folder.to_str().unwrap()];
    let told = bed.inside(bed.streams.to_str().unwrap(), &doctor);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = json(&told);
    let copies = told["obstacles"].as_array().unwrap().iter();
    let copies: Vec<_> = copies.filter(|told| told["what"].as_str().unwrap().contains("driver veth")).collect();
    assert_eq!(copies.len(), 1, "{told:#}");
    assert_eq!(copies[0]["basis"], "measured");
}

#[test]
fn mistakes_on_the_command_line_are_one_clear_line() {
    let folder = std::env::temp_dir();
    for (arguments, part) in [
        (["check", "--interface", "no-such-nic"], "no interface `no-such-nic`"),
        (["check", "--io", "fish"], "auto, udp or xdp:IFACE"),
        (["check", "fish", "sysctls"], "there is no stage `fish`"),
    ] {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_streams")));
        let output = command.arg("configure").args(arguments).arg("--data").arg(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    }
}
