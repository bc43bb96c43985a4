//! What the packet program counts, by kind, as operators see it; and the sizes and the polling that they choose.

use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};
use serde_json::{Value, json};
use streams_tests::{Encoder, Film, Noise, Options, Signal, Stack, Testbed, Watcher, eventually, kill};

/// Datagrams of each kind: fewer than a queue of a veth holds, so that none is lost on the way.
const EACH: usize = 50;

fn options(testbed: &Testbed, engine: &str) -> Options {
    Options {
        namespace: testbed.pop.clone(),
        host: Testbed::POP_IPV4,
        io: "xdp:pop0".into(),
        engine: engine.into(),
        ..Options::default()
    }
}

fn all(stack: &Stack) -> Value {
    stack.json(&["monitor", "--once", "--interval", "200ms"])["all"].clone()
}

/// Sends UDP datagrams whose header claims more bytes than there are.
fn send_with_wrong_length(from: &UdpSocket, to: SocketAddr) {
    let SocketAddr::V4(to) = to else { panic!("an IPv4 address") };
    let port = from.local_addr().expect("bound").port();
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Udp).expect("root may");
    let mut packet = [0u8; 40];
    packet[..2].copy_from_slice(&port.to_be_bytes());
    packet[2..4].copy_from_slice(&to.port().to_be_bytes());
    packet[4..6].copy_from_slice(&1_000u16.to_be_bytes());
    let address = SockaddrIn::from(to);
    for _ in 0..EACH {
        sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &packet, &address, MsgFlags::empty()).expect("sent");
    }
}

#[test]
fn each_kind_of_junk_is_counted_once_and_exactly() {
    let Some(testbed) = Testbed::up("each_kind_of_junk_is_counted_once_and_exactly", 2, &[]) else { return };
    let stack = Stack::start(&options(&testbed, ""));
    let to = SocketAddr::new(Testbed::POP_IPV4, stack.ports.quic);
    let socket = testbed.net.inside(|| UdpSocket::bind("0.0.0.0:0").expect("a port is free"));
    let metric = |name: &str| stack.metric(&format!("streams_engine_{name}_total"));
    let mut noise = Noise::new();
    let send = |junk: &[u8]| {
        for _ in 0..EACH {
            socket.send_to(junk, to).expect("sent");
        }
    };

    let short = noise.short_header();
    let mut no_fixed_bit = short.clone();
    no_fixed_bit[0] &= 0x3f;
    let mut long_id = noise.initial();
    long_id[5] = 21;
    let dropped: [(&str, &[u8]); 4] = [
        ("xdp_prog_malformed_fixed_bit", &no_fixed_bit),
        ("xdp_prog_malformed_too_short", &short[..16]),
        ("xdp_prog_malformed_too_short", &[]),
        ("xdp_prog_malformed_cid_length", &long_id),
    ];
    let mut wanted = 0;
    for (counter, junk) in dropped {
        let before = metric(counter);
        send(junk);
        wanted += EACH;
        eventually(&format!("{counter} grows"), || metric(counter) >= before + EACH as f64);
    }
    testbed.net.inside(|| send_with_wrong_length(&socket, to));
    wanted += EACH;
    eventually("wrong lengths are counted", || metric("xdp_prog_malformed_udp_length") >= EACH as f64);

    // What could be QUIC reaches a shard, which finds that it is none.
    let (redirected, junk) = (metric("xdp_redirected"), metric("rx_dropped"));
    send(&short);
    eventually("the shard drops them", || metric("rx_dropped") >= junk + EACH as f64);
    assert_eq!((metric("xdp_redirected") - redirected, metric("rx_dropped") - junk), (EACH as f64, EACH as f64));

    // Exactly that, in each place where an operator may look.
    let seen = all(&stack);
    let each = |key: &str| seen["totals"][key].as_u64().expect("it is counted");
    for (key, times) in [("fixed_bit", 1), ("too_short", 2), ("cid_length", 1), ("udp_length", 1)] {
        let key = format!("xdp_prog_malformed_{key}");
        assert_eq!((each(&key), metric(&key)), ((times * EACH) as u64, (times * EACH) as f64), "{key}");
    }
    assert_eq!(seen["xdp_malformed_datagrams"], wanted);
    assert_eq!((each("xdp_no_metadata"), each("xdp_unreadable"), each("xdp_prog_no_socket")), (0, 0, 0));
    // ARP and the like are the kernel's.
    let frames = each("xdp_prog_frames");
    assert_eq!(frames, each("xdp_prog_passed") + each("xdp_redirected") + wanted as u64);
    let shown = String::from_utf8(stack.cli(&["monitor", "--once"]).stdout).expect("text");
    assert!(shown.contains("malformed") && shown.contains(&wanted.to_string()), "{shown}");
    let help = stack.http_get("/metrics");
    assert!(
        help.contains("# HELP streams_engine_xdp_prog_malformed_fixed_bit Dropped by the packet program"),
        "{help}"
    );
}

#[test]
fn rings_have_the_sizes_that_were_chosen_and_a_busy_shard_polls_its_queue() {
    let test = "rings_have_the_sizes_that_were_chosen_and_a_busy_shard_polls_its_queue";
    let Some(testbed) = Testbed::up(test, 2, &[]) else { return };
    let engine = "poll = \"busy\"\nxdp_fill_frames = 512\nxdp_rx_frames = 256\nxdp_tx_frames = 128\n\
                  xdp_completion_frames = 64\nxdp_send_frames = 150";
    let stack = Stack::start(&options(&testbed, engine));
    let effective = |key: &str| stack.json(&["tune", "get", key])["tunables"][0]["effective"].clone();
    let runs_with = |wanted: &[(&str, u64)]| wanted.iter().all(|(key, value)| effective(key) == json!([value, value]));
    let sizes = [
        ("xdp_fill_frames", 512),
        ("xdp_rx_frames", 256),
        ("xdp_tx_frames", 128),
        ("xdp_completion_frames", 64),
        ("xdp_send_frames", 150),
        ("xdp_busy_poll_us", 20),
        ("xdp_busy_poll_budget", 64),
    ];
    eventually("they are told", || runs_with(&sizes));
    assert!(all(&stack)["levels"]["xdp_fill_level"].as_u64().is_some_and(|fill| fill > 0 && fill <= 1_024));
    eventually("both shards poll", || all(&stack)["levels"]["xdp_busy_poll"] == 2);
    let plays = || {
        let input = stack.live("sized");
        let _encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Gop2s);
        stack.wait_status(&input, "active");
        let mut watcher = testbed.net.inside(|| Watcher::start(&stack, &input));
        watcher.objects(100);
        watcher.nothing_missing();
    };
    plays();
    let doctor = stack.cli(&["doctor", "--json", "--config", stack.data.join("streams.toml").to_str().expect("UTF-8")]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("the running engine polls its queues"));

    // A wish counts from the next start on, and wins over the file.
    for assignment in ["xdp_rx_frames=1024", "xdp_busy_poll_us=0", "xdp_send_frames=3000"] {
        stack.json(&["tune", "set", assignment]);
    }
    assert!(runs_with(&sizes), "not before a restart");
    let engine = stack.engine_pid();
    kill(engine, Signal::KILL);
    eventually("another engine runs", || stack.engine_pid() != engine && stack.http_get("/readyz").contains("200 OK"));
    let tuned = [("xdp_rx_frames", 1_024), ("xdp_send_frames", 3_000), ("xdp_busy_poll_us", 0), ("xdp_tx_frames", 128)];
    eventually("it runs with the new ones", || runs_with(&tuned));
    eventually("interrupts drive the queues", || all(&stack)["levels"]["xdp_busy_poll"] == 0);
    plays();
}

#[test]
fn a_ring_that_is_no_power_of_two_is_refused_with_its_place() {
    let stack = Stack::start(&Options::default());
    let file = stack.data.join("odd.toml");
    std::fs::write(&file, "[engine]\nxdp_rx_frames = 1000\n").expect("written");
    let output = stack.cli(&["up", "--config", file.to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    for part in ["odd.toml:2", "engine.xdp_rx_frames", "1000", "a power of two from 64 to 65536"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let printed = String::from_utf8(stack.cli(&["up", "--print-config"]).stdout).expect("text");
    assert!(
        printed.contains("xdp_completion_frames = 2048") && printed.contains("Accepts a power of two from 64 to 65536")
    );
    // Kernel sockets have no such rings.
    let shown = stack.json(&["tune", "get", "xdp_rx_frames"]);
    assert_eq!(shown["tunables"][0]["effective"], json!([0, 0]));
}
