//! What engine and control may still do once they run, and that they work so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use streams_tests::{
    Encoder, Film, Input, Namespace, Options, Signal, Stack, Testbed, eventually, eventually_some, kill, played_well,
    repo,
};

/// A user that every Debian has.
const NOBODY: &str = "65534";

/// The values of one line of /proc/PID/task/*/status, one a thread.
fn of_each_thread(pid: u32, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.expect("the line is there").trim().to_owned()
        })
        .collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// True, and said by name, when this test cannot run here.
fn needs_root(test: &str) -> bool {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "{test}: needs root");
        eprintln!("NOT RUN: {test}: needs root");
    }
    !is_root()
}

fn has_no_capability(pid: u32) {
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        for value in of_each_thread(pid, set) {
            assert_eq!(u64::from_str_radix(&value, 16), Ok(0), "{set} of {pid}");
        }
    }
    // Whoever is not root cannot empty the bounding set, nor gain anything by it.
    if is_root() {
        assert!(of_each_thread(pid, "CapBnd").iter().all(|value| u64::from_str_radix(value, 16) == Ok(0)));
    }
    assert!(of_each_thread(pid, "NoNewPrivs").iter().all(|value| value == "1"));
}

fn is_confined(engine: u32) {
    has_no_capability(engine);
    let filters = of_each_thread(engine, "Seccomp");
    assert!(filters.len() > 1 && filters.iter().all(|value| value == "2"), "{filters:?}");
}

fn is_nobody(engine: u32) {
    for key in ["Uid", "Gid"] {
        for ids in of_each_thread(engine, key) {
            assert!(ids.split_whitespace().all(|id| id == NOBODY), "{key}: {ids}");
        }
    }
}

fn as_nobody() -> Options {
    Options { engine: "user = \"nobody\"".into(), ..Options::default() }
}

fn plays(stack: &Stack, input: &Input, name: &str) {
    let file = stack.data.join(name);
    let played = stack.play(&stack.urls(&input.id).moqt, &file, "3s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    played_well(&file, 3.0, true, Some(2));
}

#[test]
fn engine_and_control_keep_no_right() {
    let stack = Stack::start(&Options::default());
    is_confined(stack.engine_pid());
    has_no_capability(stack.control_pid());
    let log = fs::read_to_string(stack.data.join("log/engine.log")).expect("a log");
    let said =
        log.lines().filter(|line| line.contains("root without capabilities") || line.contains("given up its rights"));
    assert_eq!(said.count(), 1, "{log}");
}

#[test]
fn an_unprivileged_engine_serves_reloads_and_comes_back() {
    if needs_root("an_unprivileged_engine_serves_reloads_and_comes_back") {
        return;
    }
    let mut stack = Stack::start(&as_nobody());
    let engine = stack.engine_pid();
    is_confined(engine);
    is_nobody(engine);
    let input = stack.live("unprivileged");
    let encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    plays(&stack, &input, "first.mp4");
    eventually("group ids are saved", || stack.data.join("engine/groups").join(&input.id).exists());

    // A power cut at the broadcaster's.
    encoder.kill_hard();
    stack.wait_status(&input, "reconnecting");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");

    // A new control process finds that the certificate is over. The engine reads the next one, and `streams play` trusts no other.
    let note = stack.data.join("tls/issued.json");
    let issued = fs::read_to_string(&note).expect("a note");
    let mut issued: serde_json::Value = serde_json::from_str(&issued).expect("JSON");
    issued["not_after_ms"] = 1.into();
    let before = fs::read(stack.data.join("tls/cert.pem")).expect("a certificate");
    fs::write(&note, issued.to_string()).expect("written");
    stack.kill_control();
    assert_ne!(before, fs::read(stack.data.join("tls/cert.pem")).expect("a certificate"));
    assert_eq!(stack.engine_pid(), engine, "the engine is the same process");
    eventually("the engine serves the new certificate", || {
        stack.play(&stack.urls(&input.id).moqt, &stack.data.join("second.mp4"), "1s").status.success()
    });
    stack.wait_status(&input, "active");

    kill(engine, Signal::KILL);
    let engine = eventually_some("another engine runs", || Some(stack.engine_pid()).filter(|pid| *pid != engine));
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    is_confined(engine);
    is_nobody(engine);
    plays(&stack, &input, "third.mp4");

    stack.up.signal(Signal::INT);
    assert!(stack.up.wait().success(), "it drains and ends in good order: {}", stack.printed());
}

#[test]
fn root_serves_in_a_run_folder_of_the_engine_s_user_and_of_nobody_else() {
    if needs_root("root_serves_in_a_run_folder_of_the_engine_s_user_and_of_nobody_else") {
        return;
    }
    let mut stack = Stack::start(&as_nobody());
    let run_dir = stack.run_dir();
    let stop = |stack: &mut Stack| {
        stack.up.signal(Signal::INT);
        assert!(stack.up.wait().success(), "{}", stack.printed());
        assert!(!run_dir.exists());
    };
    // As `streams configure init` and the units make it.
    let lay = |uid: u32| {
        fs::create_dir(&run_dir).expect("made");
        std::os::unix::fs::chown(&run_dir, Some(uid), Some(uid)).expect("root may");
    };
    stop(&mut stack);
    lay(65_534);
    stack.up_again();
    is_nobody(stack.engine_pid());
    let found = fs::metadata(&run_dir).expect("there");
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (0, 65_534, 0o2750), "the user cannot write in it");
    let input = stack.live("adopted");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    plays(&stack, &input, "adopted.mp4");
    stop(&mut stack);

    // Another user was there first and waits for root to write into it.
    lay(1);
    let said = stack.up_refused();
    let folder = run_dir.to_str().expect("UTF-8");
    assert!(said.lines().any(|line| line.contains(folder) && line.contains("user id 1")), "{said}");
    let found = fs::metadata(&run_dir).expect("there");
    assert_eq!((found.uid(), fs::read_dir(&run_dir).expect("a folder").count()), (1, 0), "nothing is written into it");
}

#[test]
fn an_engine_cannot_become_a_user_who_cannot_reach_its_data() {
    if needs_root("an_engine_cannot_become_a_user_who_cannot_reach_its_data") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("streams-unreachable-{}", std::process::id()));
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("made");
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("closed");
    let says = |user: &str| {
        let output = Command::new(streams_tests::binary("streams-engine"))
            .arg("--data")
            .arg(&data)
            .env("STREAMS_ENGINE_USER", user)
            .output()
            .expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unreachable = says("nobody");
    assert!(unreachable.contains("nobody cannot enter") && unreachable.contains("--data"), "{unreachable}");
    let unknown = says("nobody-at-all");
    assert!(unknown.contains("no such user"), "{unknown}");
    let _ = fs::remove_dir_all(&folder);
}

/// Whether an XDP program is attached to the engine's interface.
fn has_program(pop: &Namespace) -> bool {
    let shown = pop.command("ip").args(["-details", "link", "show", "pop0"]).output().expect("ip runs");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8_lossy(&shown.stdout).contains("prog/xdp")
}

#[test]
fn af_xdp_goes_on_without_rights_and_leaves_no_program_behind() {
    let Some(testbed) = Testbed::up("af_xdp_goes_on_without_rights_and_leaves_no_program_behind", 2, &[]) else {
        return;
    };
    let options =
        Options { namespace: testbed.pop.clone(), host: Testbed::POP_IPV4, io: "xdp:pop0".into(), ..as_nobody() };
    let mut stack = Stack::start(&options);
    let engine = stack.engine_pid();
    is_confined(engine);
    is_nobody(engine);
    assert!(has_program(&testbed.pop));
    let input = stack.live("bypass");
    let _encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Gop2s);
    stack.wait_status(&input, "active");
    let file = stack.data.join("out.mp4");
    let played = stack.play_from(&testbed.net, &stack.urls(&input.id).moqt, &file, "3s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    // The program's own counter, read out of its map.
    eventually("the packet program's counters are read", || stack.metric("streams_engine_xdp_redirected_total") > 0.0);
    assert!(stack.metric("streams_engine_xdp_received_total") > 0.0);

    stack.kill_up();
    kill(engine, Signal::KILL);
    eventually("the program is gone with the engine", || !has_program(&testbed.pop));
}

/// Runs `systemd-analyze`; `None`, said by name, where there is none.
fn systemd_analyze(test: &str, arguments: &[&str], folder: &Path) -> Option<std::process::Output> {
    // The colon adds the system's own units.
    let mut units = folder.as_os_str().to_owned();
    units.push(":");
    match Command::new("systemd-analyze").args(arguments).current_dir(folder).env("SYSTEMD_UNIT_PATH", units).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{test}: systemd-analyze: {error}");
            eprintln!("NOT RUN: {test}: systemd-analyze: {error} (Debian package systemd)");
            None
        }
    }
}

#[test]
fn the_units_are_valid_and_hardened() {
    let test = "the_units_are_valid_and_hardened";
    let units = repo().join("deploy/systemd");
    for (unit, exposure_max) in [("streams-control.service", "16"), ("streams-engine.service", "24")] {
        let threshold = format!("--threshold={exposure_max}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, unit];
        let Some(output) = systemd_analyze(test, &arguments, &units) else { return };
        assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let folder = std::env::temp_dir().join(format!("streams-units-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("made");
    // The programs need not be installed for the units to be checked: those of this build stand in for them.
    let bin = streams_tests::binary("streams-engine");
    let bin = bin.parent().and_then(Path::to_str).expect("UTF-8");
    let mut names = Vec::new();
    for unit in fs::read_dir(&units).expect("units").flatten() {
        let text = fs::read_to_string(unit.path()).expect("text").replace("/usr/local/bin", bin);
        fs::write(folder.join(unit.file_name()), text).expect("written");
        names.push(unit.file_name().into_string().expect("UTF-8"));
    }
    assert_eq!(names.len(), 4, "{names:?}");
    for name in &names {
        let path = folder.join(name);
        let Some(output) = systemd_analyze(test, &["verify", "--man=no", path.to_str().expect("UTF-8")], &folder)
        else {
            return;
        };
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours: Vec<&str> = words.lines().filter(|line| line.contains("streams")).collect();
        assert!(ours.is_empty(), "{name}: {words}");
    }
    let _ = fs::remove_dir_all(&folder);
}
