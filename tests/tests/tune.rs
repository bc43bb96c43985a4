//! `streams tune`: each setting reaches the running shards, is told as they have it, and lasts.

use serde_json::{Value, json};
use streams_tests::{Options, Owned, Signal, Stack, eventually, kill};

fn tunable(stack: &Stack, key: &str) -> Value {
    stack.json(&["tune", "get", key])["tunables"][0].clone()
}

fn effective(stack: &Stack, key: &str) -> Value {
    tunable(stack, key)["effective"].clone()
}

fn set(stack: &Stack, arguments: &[&str]) {
    stack.json(&[&["tune", "set"], arguments].concat());
}

fn refused(stack: &Stack, arguments: &[&str], wanted: &str) {
    let output = stack.cli(&[&["tune"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.trim().lines().count() == 1 && said.contains(wanted), "{arguments:?} says: {said}");
}

#[test]
fn every_live_setting_reaches_both_shards_and_a_bad_one_none() {
    let stack = Stack::start(&Options::default());
    let live = [
        ("recv_batch", json!(8)),
        ("recv_rounds", json!(2)),
        ("send_rounds", json!(6)),
        ("visit_packets", json!(32)),
        ("poll", json!("busy")),
        ("spin_us", json!(25)),
        ("nap_us", json!(0)),
        ("retry_half_open_min", json!(77)),
        ("sessions_max", json!(1234)),
        ("delivery_timeout_ms", json!(2500)),
        ("cache_bytes_max", json!(64 << 20)),
    ];
    let listed = stack.json(&["tune", "get"]);
    let listed = listed["tunables"].as_array().expect("a list");
    let keys: Vec<&str> =
        listed.iter().filter(|one| one["changes"] == "live").filter_map(|one| one["key"].as_str()).collect();
    assert_eq!(keys, live.iter().map(|(key, _)| *key).collect::<Vec<_>>(), "each live key is tried here");
    for (key, value) in &live {
        let before = effective(&stack, key);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        set(&stack, &[&format!("{key}={text}")]);
        eventually(&format!("both shards run with {key}={text}"), || effective(&stack, key) == json!([value, value]));
        refused(&stack, &["set", &format!("{key}=-1")], key);
        assert_eq!(effective(&stack, key), json!([value, value]), "a refused value changes nothing");
        set(&stack, &[&format!("{key}=default")]);
        eventually(&format!("{key} is back"), || effective(&stack, key) == before);
    }
    refused(&stack, &["set", "recv_batch=65"], "a whole number from 1 to 64 (datagrams)");
    refused(&stack, &["set", "poll=lazy"], "adaptive or busy");
    refused(&stack, &["set", "media_bytes=20000000"], "a power of two");
    refused(&stack, &["set", "recv_batch"], "KEY=VALUE");
    refused(&stack, &["set", "recv_bach=8"], "recv_batch");
    refused(&stack, &["set", "recv_batch=8", "--shard", "2"], "--shard 0 to 1");
    refused(&stack, &["get", "nothing"], "recv_batch");
    let text = String::from_utf8(stack.cli(&["tune", "get"]).stdout).expect("text");
    assert!(text.contains("cache_bytes_max") && text.contains("on restart") && text.contains("old groups go first"));
}

#[test]
fn how_a_shard_waits_is_seen_in_its_time() {
    let stack = Stack::start(&Options::default());
    let asleep = |shard: usize| {
        let seen = stack.json(&["monitor", "--once", "--interval", "300ms"]);
        // A shard that did not beat between the two looks has no share; the next sample will have it.
        seen["shards"][shard]["time"]["sleep_percent"].as_f64().unwrap_or(-1.0)
    };
    eventually("idle shards sleep", || asleep(0) > 0.0 && asleep(1) > 0.0);
    set(&stack, &["poll=busy", "--shard", "1"]);
    eventually("the busy one never sleeps", || asleep(1) == 0.0);
    assert_eq!(effective(&stack, "poll"), json!(["adaptive", "busy"]));
    eventually("the other one goes on as before", || asleep(0) > 0.0);
    set(&stack, &["poll=default", "--shard", "1"]);
    eventually("it sleeps again", || asleep(1) > 0.0);
}

#[test]
fn fewer_sessions_are_let_in_once_that_is_tuned() {
    let stack = Stack::start(&Options { shards: 1, open: true, ..Options::default() });
    let input = stack.live("full");
    let _encoder = streams_tests::Encoder::push(&input, streams_tests::Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let file = |n: u32| stack.data.join(format!("{n}.mp4"));
    let play = |n: u32| {
        let path = file(n);
        Owned::new(stack.command(&["play", &url, "-o", path.to_str().expect("UTF-8")]).spawn().expect("it starts"))
    };
    let _first = play(1);
    eventually("the first viewer plays", || file(1).metadata().is_ok_and(|meta| meta.len() > 100_000));
    set(&stack, &["sessions_max=1"]);
    eventually("it is in effect", || effective(&stack, "sessions_max") == json!([1]));
    let refused = || stack.metric("streams_engine_rx_dropped_total");
    let before = refused();
    let _second = play(2);
    eventually("the second is turned away", || refused() > before);
    assert_eq!(stack.metric("streams_engine_sessions_open"), 1.0);
    set(&stack, &["sessions_max=default"]);
    let third = play(3);
    eventually("there is room again", || file(3).metadata().is_ok_and(|meta| meta.len() > 100_000));
    drop(third);
}

#[test]
fn settings_outlive_control_and_engine_and_sizes_wait_for_a_restart() {
    let stack = Stack::start(&Options::default());
    set(&stack, &["recv_batch=4"]);
    set(&stack, &["recv_batch=2", "--shard", "1"]);
    set(&stack, &["rx_depth=8192"]);
    set(&stack, &["media_bytes=16777216", "--shard", "0"]);
    eventually("the live one is in effect", || effective(&stack, "recv_batch") == json!([4, 2]));
    assert_eq!(effective(&stack, "rx_depth"), json!([4096, 4096]), "not before a restart");

    let engine = stack.engine_pid();
    stack.kill_control();
    assert_eq!(stack.engine_pid(), engine);
    assert_eq!(tunable(&stack, "recv_batch")["set_by_shard"], json!({ "1": 2 }), "control has kept them");
    assert_eq!(effective(&stack, "recv_batch"), json!([4, 2]), "the engine never lost them");

    kill(engine, Signal::KILL);
    eventually("another engine runs", || stack.engine_pid() != engine && stack.http_get("/readyz").contains("200 OK"));
    eventually("it runs with all of them", || {
        effective(&stack, "recv_batch") == json!([4, 2])
            && effective(&stack, "rx_depth") == json!([8192, 8192])
            && effective(&stack, "media_bytes") == json!([16 << 20, 32 << 20])
    });
    let seen = stack.json(&["monitor", "--once", "--interval", "200ms"]);
    assert_eq!(seen["shards"][1]["rx_link_depth_frags"], 8192, "the link itself is that deep");
}
