//! Junk in masses at the QUIC port beside a viewer.

use std::net::UdpSocket;

use streams_tests::{Encoder, Film, Options, Stack, Watcher, eventually};

const INITIALS: usize = 5_000;
const SHORT_HEADERS: usize = 50_000;
/// What the engine may grow by: its caches fill while the test runs, but 5,000 connections would take several times as much.
const GROWTH_LEN_MAX: u64 = 96 << 20;

/// Anonymous memory of a process, bytes.
fn memory_len(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") * 1024
}

#[test]
fn a_flood_of_junk_is_counted_and_no_viewer_notices() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("flooded");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut watcher = Watcher::start(&stack, &input);
    watcher.objects(50);
    let (engine, accepted) = (stack.engine_pid(), stack.metric("streams_engine_connections_accepted_total"));
    let before = memory_len(engine);

    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    println!("seed {state:#x}");
    let mut noise = move |junk: &mut [u8]| {
        for byte in junk {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
    };
    // Several sockets, so that every shard gets its share.
    let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").expect("bound")).collect();
    let to = ("127.0.0.1", stack.ports.quic);
    let metric = |name: &str| stack.metric(&format!("streams_engine_{name}_total"));
    let (mut initials, mut shorts) = (0, 0);
    // A full socket buffer loses some of it on a loaded machine, so it goes on until enough has been seen.
    eventually("the flood is counted and answered by Retry", || {
        for socket in sockets.iter().cycle().take(INITIALS / 10) {
            let mut junk = [0u8; 1200];
            noise(&mut junk);
            // QUIC version 1, ids of 8 and 0 bytes, no token, a length that fits.
            junk[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            junk[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
            let _ = socket.send_to(&junk, to);
            initials += 1;
            for _ in 0..SHORT_HEADERS / INITIALS {
                let len = 21 + shorts % 60;
                noise(&mut junk[..len]);
                junk[0] = 0x40 | (junk[0] & 0x3f);
                let _ = socket.send_to(&junk[..len], to);
                shorts += 1;
            }
        }
        let seen = metric("rx_dropped") + metric("retries_sent");
        initials >= INITIALS && seen >= (INITIALS + SHORT_HEADERS) as f64 / 2.0 && metric("retries_sent") > 100.0
    });
    watcher.objects(75);
    watcher.nothing_missing();
    assert_eq!(metric("connections_accepted"), accepted, "none of it was let in");
    assert_eq!(stack.metric("streams_engine_connections_open"), 1.0);
    assert_eq!(metric("resets_sent"), 0.0);
    let after = memory_len(engine);
    assert!(after < before + GROWTH_LEN_MAX, "the engine grew from {before} to {after} bytes");
}
