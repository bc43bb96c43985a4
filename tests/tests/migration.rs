//! Viewers whose address changes: a phone that leaves its Wi-Fi, a NAT that forgets.

use streams_tests::{Encoder, Film, Options, Stack, Watcher, eventually};

const HOPS: usize = 20;

/// The kernel spreads addresses over the shards, so that most new ones lead to a shard that does not have the connection.
fn keeps_playing(shards: usize) {
    let stack = Stack::start(&Options { shards, ..Options::default() });
    let input = stack.live("roaming");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut watcher = Watcher::start(&stack, &input);
    watcher.objects(25);
    for _ in 0..HOPS {
        watcher.moqt.rebind();
        watcher.objects(10);
    }
    watcher.objects(75);
    let groups = watcher.nothing_missing();
    assert!(groups >= 5, "{groups} groups of 2 s");
    let metric = |name: &str| stack.metric(&format!("streams_engine_{name}_total"));
    eventually("every new address is proven", || metric("migrations") == HOPS as f64);
    // With the rights for it a program brings each datagram to its owner's socket; without, some come to another's, which
    // tosses them (the tests of AF_XDP see that happen with rights).
    let log = std::fs::read_to_string(stack.data.join("log/engine.log")).expect("the engine's log");
    let steered = !log.contains("kernel sockets get datagrams by address alone");
    assert_eq!(metric("toss_out") == 0.0, steered, "{} datagrams were tossed by {shards} shards", metric("toss_out"));
    drop(watcher);
    eventually("what was tossed was caught", || metric("toss_out") == metric("toss_in") + metric("toss_overrun"));
    assert_eq!(metric("connections_accepted"), 1.0, "it is still the first connection");
}

#[test]
fn a_viewer_keeps_playing_over_twenty_addresses_with_two_shards() {
    keeps_playing(2);
}

#[test]
fn a_viewer_keeps_playing_over_twenty_addresses_with_four_shards() {
    keeps_playing(4);
}

#[test]
fn viewers_that_have_to_prove_their_address_play_and_roam_as_well() {
    let engine = "retry_half_open_min = 0".into();
    let stack = Stack::start(&Options { engine, ..Options::default() });
    let input = stack.live("proven");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    for _ in 0..4 {
        let mut watcher = Watcher::start(&stack, &input);
        watcher.objects(25);
        watcher.moqt.rebind();
        watcher.objects(50);
        watcher.nothing_missing();
    }
    eventually("each viewer was sent a Retry", || stack.metric("streams_engine_retries_sent_total") >= 4.0);
    assert_eq!(stack.metric("streams_engine_tokens_refused_total"), 0.0);
}
