//! Junk in masses at the QUIC port beside a viewer.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use streams_tests::{Encoder, Film, Flood, Noise, Options, Stack, Testbed, Watcher, eventually};

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

    let mut noise = Noise::new();
    // Several sockets, so that every shard gets its share.
    let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").expect("bound")).collect();
    let to = ("127.0.0.1", stack.ports.quic);
    let metric = |name: &str| stack.metric(&format!("streams_engine_{name}_total"));
    let mut initials = 0;
    // A full socket buffer loses some of it on a loaded machine, so it goes on until enough has been seen.
    eventually("the flood is counted and answered by Retry", || {
        for socket in sockets.iter().cycle().take(INITIALS / 10) {
            let _ = socket.send_to(&noise.initial(), to);
            initials += 1;
            for _ in 0..SHORT_HEADERS / INITIALS {
                let _ = socket.send_to(&noise.short_header(), to);
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

/// Junk for an engine on AF_XDP beside viewers, none of whom may miss a frame. Prints what became of it.
fn flooded(test: &str, viewers: u64, rate: u64, lasting: Duration) {
    let Some(testbed) = Testbed::up(test, 2, &[]) else { return };
    let options = Options {
        namespace: testbed.pop.clone(),
        host: Testbed::POP_IPV4,
        io: "xdp:pop0".into(),
        ..Options::default()
    };
    let stack = Stack::start(&options);
    let input = stack.live("flooded");
    let _encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Small);
    stack.wait_status(&input, "active");
    let totals = || stack.json(&["monitor", "--once", "--interval", "200ms"])["all"]["totals"].clone();
    let (playing, over) = (AtomicU64::new(0), AtomicBool::new(false));
    // Each reads all the time: what it leaves lying would be given up as if it were slow.
    let view = || {
        let mut watcher = testbed.net.inside(|| Watcher::start(&stack, &input));
        watcher.objects(25);
        playing.fetch_add(1, Ordering::Relaxed);
        while !over.load(Ordering::Relaxed) {
            watcher.objects(5);
        }
        watcher.objects(75);
        watcher.nothing_missing()
    };
    let (groups, before, (sent, lasted)) = std::thread::scope(|scope| {
        let start = |number: u64| {
            let viewer = scope.spawn(view);
            eventually("one more viewer plays", || viewer.is_finished() || playing.load(Ordering::Relaxed) > number);
            viewer
        };
        let watching: Vec<_> = (0..viewers).map(start).collect();
        let before = totals();
        let flood = Flood::start(&testbed.net, SocketAddr::new(Testbed::POP_IPV4, stack.ports.quic), rate);
        let since = Instant::now();
        eventually("the flood has lasted", || since.elapsed() >= lasting);
        let flooded = flood.end();
        over.store(true, Ordering::Relaxed);
        let groups: usize = watching.into_iter().map(|viewer| viewer.join().expect("nothing is missing")).sum();
        (groups, before, flooded)
    });
    eventually("what was redirected has arrived or is told as dropped", || {
        let now = totals();
        let grown = |key: &str| now[key].as_u64().unwrap_or_default() - before[key].as_u64().unwrap_or_default();
        grown("xdp_redirected") <= grown("xdp_received") + grown("xdp_rx_dropped")
    });
    let after = totals();
    let grown = |key: &str| after[key].as_u64().unwrap_or_default() - before[key].as_u64().unwrap_or_default();
    let share = |count: u64| 100.0 * count as f64 / sent as f64;
    let in_program = grown("xdp_prog_malformed_fixed_bit");
    let (dropped, retries) = (grown("rx_dropped"), grown("retries_sent"));
    println!(
        "{viewers} viewers, {groups} groups whole; {sent} datagrams of junk in {:.1} s, {:.0} a second: {:.1} % dropped in the \
         packet program, {:.1} % before the look-up of a connection or as undecryptable, {:.1} % answered by Retry, {:.1} % lost \
         for want of frames",
        lasted.as_secs_f64(),
        sent as f64 / lasted.as_secs_f64(),
        share(in_program),
        share(dropped),
        share(retries),
        share(grown("xdp_rx_dropped")),
    );
    assert!(in_program > 0 && dropped > 0 && retries > 0, "each kind is counted: {after}");
    assert_eq!(stack.metric("streams_engine_connections_accepted_total"), viewers as f64, "none of it was let in");
}

#[test]
fn a_flood_of_junk_beside_viewers_on_af_xdp_harms_none_of_them() {
    let test = "a_flood_of_junk_beside_viewers_on_af_xdp_harms_none_of_them";
    flooded(test, 4, 4_000, Duration::from_secs(4));
}

#[test]
#[ignore = "a measurement that wants the machine for itself; docs/performance.md has its command"]
fn a_hundred_viewers_are_unharmed_by_a_flood_at_full_rate() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
    };
    let (viewers, rate) = (number("STREAMS_FLOOD_VIEWERS", 100), number("STREAMS_FLOOD_RATE", 100_000));
    let test = "a_hundred_viewers_are_unharmed_by_a_flood_at_full_rate";
    flooded(test, viewers, rate, Duration::from_secs(number("STREAMS_FLOOD_SECONDS", 10)));
}
