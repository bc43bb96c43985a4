//! How kernel sockets send: by io_uring or by plain calls, with the same media at the viewer, and told in the engine's log.

use std::fs;

use streams_tests::{Encoder, Film, Options, Signal, Stack, eventually, kill, played_well};

fn started_with(udp_io: &str) -> Stack {
    Stack::start(&Options { io: "udp".into(), engine: format!("udp_io = \"{udp_io}\""), ..Options::default() })
}

/// The lines of the engine's log that say how it sends.
fn told(stack: &Stack) -> Vec<String> {
    let log = fs::read_to_string(stack.data.join("log/engine.log")).expect("the engine's log");
    log.lines().filter(|line| line.contains("kernel sockets send by")).map(str::to_owned).collect()
}

#[test]
fn either_way_viewers_get_what_was_sent_and_the_log_says_which_it_is() {
    for (udp_io, wanted) in [("auto", "by io_uring"), ("plain", "by sendmsg: `[engine] udp_io` says so")] {
        let stack = started_with(udp_io);
        let input = stack.live("udp-io");
        let _encoder = Encoder::push(&input, Film::Gop2s);
        stack.wait_status(&input, "active");
        let file = stack.data.join("out.mp4");
        let played = stack.play(&stack.urls(&input.id).moqt, &file, "4s");
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
        played_well(&file, 4.0, true, Some(2));
        let [line] = &told(&stack)[..] else { panic!("{:?}", told(&stack)) };
        let told_why_not = udp_io == "auto" && line.contains("io_uring cannot be had");
        assert!(line.contains(wanted) || told_why_not, "{udp_io}: {line}");
    }
}

#[test]
fn an_engine_that_was_killed_while_it_sent_is_followed_by_one_that_has_the_port_to_itself() {
    let stack = started_with("auto");
    let input = stack.live("killed-ring");
    for _ in 0..3 {
        let encoder = Encoder::push(&input, Film::Gop2s);
        stack.wait_status(&input, "active");
        let url = stack.urls(&input.id).moqt;
        let viewer = stack.command(&["play", &url]).spawn().expect("it starts");
        let _viewer = streams_tests::Owned::new(viewer);
        eventually("the viewer is served", || stack.metric("streams_engine_objects_out_total") > 10.0);
        let old = stack.engine_pid();
        kill(old, Signal::KILL);
        eventually("another engine runs", || stack.engine_pid() != old);
        drop(encoder);
        // One socket a shard; one of the dead engine would have its share of the packets.
        let sockets = fs::read_to_string("/proc/net/udp").expect("the kernel's table");
        let port = format!(":{:04X}", stack.ports.quic);
        let local = |line: &str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
        let bound = sockets.lines().filter(|line| local(line)).count();
        assert_eq!(bound, Options::default().shards, "{sockets}");
    }
}
