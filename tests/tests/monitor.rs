//! `streams monitor`: what it shows is what clients saw, and it needs nobody but the engine.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use streams_tests::{
    Encoder, Film, Options, Owned, Signal, Stack, binary, eventually, eventually_some, kill, processes_named,
};

/// Viewers of the fan-out.
const VIEWERS: usize = 4;

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} is no number in {value:#}"))
}

/// A sample in which every shard has published between its two looks, whatever else the machine does.
fn monitor(stack: &Stack) -> Value {
    eventually_some("every shard beats", || {
        let seen = stack.json(&["monitor", "--once", "--interval", "500ms"]);
        let beat = seen["shards"].as_array()?.iter().all(|shard| !shard["time"].is_null());
        beat.then_some(seen)
    })
}

fn no_engine(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.trim().lines().count() == 1 && said.contains("no engine runs on"), "{said}");
    said
}

#[test]
fn the_monitor_adds_up_with_what_viewers_counted() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("fan-out");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let file = |n: usize| stack.data.join(format!("viewer-{n}.mp4"));
    let view = |n: usize| {
        let path = file(n);
        let mut command = stack.command(&["play", &url, "--json", "-o", path.to_str().expect("UTF-8")]);
        Owned::new(command.stdout(Stdio::piped()).spawn().expect("it starts"))
    };
    let mut viewers: Vec<Owned> = (0..VIEWERS).map(view).collect();
    eventually("all viewers play", || (0..VIEWERS).all(|n| file(n).metadata().is_ok_and(|meta| meta.len() > 200_000)));

    let seen = monitor(&stack);
    assert_eq!(seen["engine"]["state"], "running");
    assert_eq!(seen["engine"]["pid"], stack.engine_pid());
    assert_eq!(number(&seen, "/all/levels/sessions_open"), VIEWERS as f64);
    assert_eq!(number(&seen, "/all/levels/ingest_open"), 1.0);
    assert_eq!(seen["inputs"][0]["input"], *input.id);
    // One film of some 1.3 Mbit/s each; the frames of half a second are there whatever the machine does.
    eventually("packets flow", || {
        let seen = monitor(&stack);
        number(&seen, "/all/rates/tx_datagrams_per_s") > 10.0 && number(&seen, "/all/rates/ingest_bits_per_s") > 0.0
    });
    let shards = seen["shards"].as_array().expect("shards");
    for key in ["tx_datagrams", "rx_datagrams", "objects_out", "connections_accepted"] {
        let sum: f64 = shards.iter().map(|shard| number(shard, &format!("/totals/{key}"))).sum();
        assert_eq!(sum, number(&seen, &format!("/all/totals/{key}")), "{key}");
    }
    for shard in shards {
        let shares = ["busy", "edge", "housekeeping", "sleep", "spin"];
        let sum: f64 = shares.iter().map(|name| number(shard, &format!("/time/{name}_percent"))).sum();
        assert!((sum - 100.0).abs() < 0.1, "{shard:#}");
        assert!(number(shard, "/time/housekeeping_percent") > 0.0, "{shard:#}");
    }
    assert!(seen["all"].get("xdp_missing_datagrams").is_none(), "kernel sockets have no packet program");

    let mut received = (0.0, 0.0);
    for viewer in &mut viewers {
        viewer.signal(Signal::INT);
        assert!(viewer.wait().success());
        let counted: Value = serde_json::from_reader(viewer.child().stdout.take().expect("piped")).expect("JSON");
        received = (received.0 + number(&counted, "/objects"), received.1 + number(&counted, "/payload_bytes"));
    }
    eventually("the monitor sees them leave", || number(&monitor(&stack), "/all/levels/sessions_open") == 0.0);
    let seen = monitor(&stack);
    assert_eq!(number(&seen, "/all/totals/sessions_opened"), VIEWERS as f64);
    let (objects, bytes) = (number(&seen, "/all/totals/objects_out"), number(&seen, "/all/totals/object_bytes_out"));
    // What the viewers had not read when they left was handed out too; of what they have read nothing is missing, and no
    // object goes to a viewer twice.
    assert!(received.0 > 0.0 && objects >= received.0, "{objects} objects out, {} received", received.0);
    let published = number(&seen, "/all/totals/objects_in");
    assert!(objects <= published * VIEWERS as f64, "{objects} objects out, {published} in");
    assert!(bytes >= received.1, "{bytes} bytes out, {} received", received.1);
    assert!(number(&seen, "/all/totals/tx_bytes") >= received.1, "packets carry more than their payload");
    assert_eq!(number(&seen, "/all/totals/rx_overrun"), 0.0);
    // Every datagram goes through a receive link, and one that was tossed is handed in a second time.
    eventually("links and counters agree", || {
        let seen = monitor(&stack);
        let links = seen["links"].as_array().expect("links").iter();
        let received = links.filter(|link| link["link"].as_str().is_some_and(|name| name.starts_with("rx.")));
        let received: f64 = received.map(|link| number(link, "/published_frags")).sum();
        let total = |key: &str| number(&seen, &format!("/all/totals/{key}"));
        received == total("rx_datagrams") - total("toss_in")
    });
    let accepted = stack.metric("streams_engine_connections_accepted_total");
    assert_eq!(accepted, number(&seen, "/all/totals/connections_accepted"), "/metrics tells the same");
}

#[test]
fn the_monitor_needs_no_control_and_says_when_there_is_no_engine() {
    let mut stack = Stack::start(&Options::default());
    let nowhere = stack.data.join("nobody");
    std::fs::create_dir_all(&nowhere).expect("made");
    let elsewhere = stack.cli(&["monitor", "--once", "--data", nowhere.to_str().expect("UTF-8")]);
    assert!(no_engine(&elsewhere).contains("nobody"), "the directory is named");

    let engine = stack.engine_pid();
    let before = monitor(&stack);
    assert!(before["links"].as_array().is_some_and(|links| links.iter().any(|link| link["link"] == "cmd.0")));
    stack.kill_up();
    assert_eq!(monitor(&stack)["engine"]["pid"], engine, "control is dead, the monitor goes on");
    let text = stack.cli(&["monitor", "--once"]);
    assert!(text.status.success() && String::from_utf8_lossy(&text.stdout).contains("out bit/s"));

    kill(engine, Signal::KILL);
    eventually("the monitor misses its heartbeat", || !stack.cli(&["monitor", "--once"]).status.success());
    let said = no_engine(&stack.cli(&["monitor", "--once", "--json"]));
    assert!(said.contains("last heartbeat") && said.contains(&engine.to_string()), "{said}");

    stack.up_again();
    let after = monitor(&stack);
    assert_ne!(after["engine"]["pid"], engine);
    assert!(number(&after, "/engine/generation") > number(&before, "/engine/generation"), "a new generation is joined");
}

#[test]
fn a_monitor_without_a_terminal_or_with_an_odd_interval_says_what_to_write() {
    let stack = Stack::start(&Options::default());
    let piped = stack.cli(&["monitor"]);
    assert_eq!(piped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&piped.stderr).contains("--once"));
    let odd = stack.cli(&["monitor", "--once", "--interval", "1ms"]);
    assert_eq!(odd.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&odd.stderr).contains("100ms to 60s"));
}

/// A terminal that is closed under the monitor: an SSH connection that breaks, a window that is gone.
#[test]
fn the_monitor_ends_with_its_terminal() {
    let stack = Stack::start(&Options::default());
    let data = stack.data.join("nobody").display().to_string();
    std::fs::create_dir_all(&data).expect("made");
    let command = format!("stty rows 24 cols 120; exec {} monitor --data {data}", binary("streams").display());
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Owned::new(script.spawn().expect("script runs"));
    let (mut screen, mut shown) = (terminal.child().stdout.take().expect("piped"), Vec::new());
    while !String::from_utf8_lossy(&shown).contains("NO ENGINE") {
        let mut some = [0; 4096];
        let len = screen.read(&mut some).expect("the screen is read");
        assert!(len > 0, "it ended by itself: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&some[..len]);
    }
    kill(terminal.pid(), Signal::KILL);
    eventually("it ends", || processes_named("streams", &data).is_empty());
}
