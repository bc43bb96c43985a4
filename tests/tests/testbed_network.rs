//! The testbed itself: what is on its wire, and that nothing of it stays behind.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

use streams_tests::{FRAME_LEN_MAX, Namespace, Port, Testbed, binary, eventually, repo};

/// Addresses of the side net, as `scripts/testbed` gives them.
const NET: [&str; 2] = ["198.51.100.2", "2001:db8:77::2"];

/// A line that changes nothing but the way of the frames: through the impairer.
const THROUGH_IMPAIRER: [&str; 2] = ["--delay", "1ms"];

fn script(arguments: &[&str]) -> Output {
    let mut command = Command::new(repo().join("scripts/testbed"));
    command.args(arguments).env("STREAMS_IMPAIR", binary("streams-impair")).output().expect("scripts/testbed runs")
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "one line is enough: {text}");
    text
}

fn lives(name: &str, side: &str) -> bool {
    Path::new(&format!("/run/netns/{name}-{side}")).exists()
}

/// The sum that the Internet checksum is the complement of (RFC 1071).
fn ones_sum(bytes: &[u8]) -> u32 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) + (folded >> 16)
}

/// Protocol of a frame with IPv4 (without options) or IPv6 (without extension headers), and whether its checksums are right.
fn checked(frame: &[u8]) -> Option<(u8, bool)> {
    let ip = &frame[14..];
    let (protocol, header_good, addresses, payload) = match frame[12..14] {
        [0x08, 0x00] => {
            let len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            (ip[9], ones_sum(&ip[..20]) == 0xffff, &ip[12..20], &ip[20..len])
        }
        [0x86, 0xdd] => {
            let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            (ip[6], true, &ip[8..40], &ip[40..40 + len])
        }
        _ => return None,
    };
    let len = u32::try_from(payload.len()).expect("below 64 kB").to_be_bytes();
    // Pseudo-header of RFC 768 and RFC 8200: addresses, length, protocol.
    let whole = [addresses, &len, &[0, 0, 0, protocol], payload].concat();
    Some((protocol, header_good && ones_sum(&whole) == 0xffff))
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Frames of each protocol and IP version that came in on a port, after a known number of them arrived at the sockets.
fn inspect(port: &mut Port) -> BTreeMap<(u8, bool), u64> {
    let mut buffer = vec![0; FRAME_LEN_MAX];
    let mut seen = BTreeMap::new();
    while let Some(frame) = port.receive(&mut buffer).expect("the interface is up") {
        assert!(frame.len() <= 1514, "a frame of {} bytes is none of MTU 1500", frame.len());
        if let Some((protocol, good)) = checked(frame)
            && (protocol == TCP || protocol == UDP)
        {
            assert!(good, "the checksum of a frame of protocol {protocol} is wrong: {frame:02x?}");
            *seen.entry((protocol, frame[12] == 0x08)).or_default() += 1;
        }
    }
    seen
}

/// UDP datagrams and a TCP stream from one side to an address of the other one; returns when all of it arrived.
fn send_something(from: &Namespace, to: &Namespace, address: IpAddr) {
    let server = to.inside(|| UdpSocket::bind((address, 0))).expect("an address of that side");
    let client = from.inside(|| {
        let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("an address");
        UdpSocket::bind(any).expect("a free port")
    });
    client.connect(server.local_addr().expect("bound")).expect("reachable");
    for len in [1, 100, 1199, 1400] {
        let mut buffer = [0; 1500];
        client.send(&vec![0xa5; len]).expect("sent");
        assert_eq!(server.recv(&mut buffer).expect("received"), len);
    }
    let listener = to.inside(|| TcpListener::bind((address, 0))).expect("an address of that side");
    let server = listener.local_addr().expect("bound");
    let mut client = from.inside(|| TcpStream::connect(server)).expect("reachable");
    let (mut stream, _) = listener.accept().expect("accepted");
    // More than a segment as a kernel hands it to a network card.
    let sending = std::thread::spawn(move || client.write_all(&vec![0x5a; 300_000]));
    let mut arrived = Vec::new();
    stream.read_to_end(&mut arrived).expect("read");
    sending.join().expect("the sender ends").expect("sent");
    assert_eq!(arrived.len(), 300_000);
}

#[test]
fn a_raw_socket_of_the_engine_gets_whole_frames_with_right_checksums() {
    for line in [&[][..], &THROUGH_IMPAIRER] {
        let test = "a_raw_socket_of_the_engine_gets_whole_frames_with_right_checksums";
        let Some(testbed) = Testbed::up(test, 2, line) else { return };
        let mut pop = testbed.pop.inside(|| Port::open("pop0")).expect("root may look at frames");
        let mut net = testbed.net.inside(|| Port::open("net0")).expect("root may look at frames");
        send_something(&testbed.net, &testbed.pop, Testbed::POP_IPV4);
        send_something(&testbed.net, &testbed.pop, Testbed::POP_IPV6);
        for address in NET {
            send_something(&testbed.pop, &testbed.net, address.parse().expect("an address"));
        }
        let mut sides = vec![inspect(&mut pop)];
        if !line.is_empty() {
            // Without the impairer the engine's kernel leaves its frames unfinished, which is what makes it fast.
            sides.push(inspect(&mut net));
        }
        for seen in sides {
            for protocol in [TCP, UDP] {
                for ipv4 in [true, false] {
                    assert!(seen.get(&(protocol, ipv4)).is_some_and(|frames| *frames >= 4), "{line:?}: {seen:?}");
                }
            }
        }
    }
}

#[test]
fn flows_of_clients_spread_over_the_engines_receive_queues() {
    const QUEUES: usize = 4;
    for line in [&[][..], &THROUGH_IMPAIRER] {
        let Some(testbed) = Testbed::up("flows_of_clients_spread_over_the_engines_receive_queues", QUEUES, line) else {
            return;
        };
        let ethtool = |arguments: &[&str]| {
            let output = testbed.pop.command("ethtool").args(arguments).output().expect("ethtool is installed");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("ethtool prints text")
        };
        // A veth counts a queue's packets only while it polls, which GRO makes it do.
        ethtool(&["-K", "pop0", "gro", "on"]);
        let server = testbed.pop.inside(|| UdpSocket::bind((Testbed::POP_IPV4, 0))).expect("an address of that side");
        let address = server.local_addr().expect("bound");
        // All of 32 flows on one of four queues would be a chance of 1 in 4^31.
        let clients: Vec<UdpSocket> = testbed
            .net
            .inside(|| (0..32).map(|_| UdpSocket::bind("0.0.0.0:0")).collect::<Result<_, _>>())
            .expect("free ports");
        for client in clients {
            client.send_to(b"hello", address).expect("sent");
            server.recv(&mut [0; 16]).expect("received");
        }
        let used = || {
            let counters = ethtool(&["-S", "pop0"]);
            let packets = (0..QUEUES).map(|queue| {
                let name = format!("rx_queue_{queue}_xdp_packets:");
                let line = counters.lines().find_map(|line| line.trim().strip_prefix(&name)).expect("a counter");
                line.trim().parse::<u64>().expect("a number")
            });
            packets.collect::<Vec<_>>()
        };
        eventually("every packet is counted", || used().iter().sum::<u64>() >= 32);
        let used = used();
        println!("{line:?}: packets of each queue: {used:?}");
        assert!(used.iter().filter(|packets| **packets > 0).count() >= 2, "{line:?}: {used:?}");
    }
}

#[test]
fn a_second_up_is_refused_and_down_leaves_nothing_and_the_others_alone() {
    let test = "a_second_up_is_refused_and_down_leaves_nothing_and_the_others_alone";
    let Some(testbed) = Testbed::up(test, 2, &THROUGH_IMPAIRER) else { return };
    let Some(other) = Testbed::up(test, 1, &[]) else { return };
    let name = testbed.name().to_owned();
    assert!(complaint(&script(&["up", "--name", &name])).contains("is there already"));
    assert!(["pop", "net", "mid"].into_iter().all(|side| lives(&name, side)), "the refusal changed nothing");
    let mut sleeper = testbed.net.command("sleep").arg("1000").spawn().expect("sleep starts");
    assert!(script(&["down", "--name", &name]).status.success());
    assert!(!sleeper.wait().expect("ended").success(), "what ran in the testbed was ended");
    assert!(!["pop", "net", "mid"].into_iter().any(|side| lives(&name, side)));
    assert!(script(&["down", "--name", &name]).status.success(), "nothing to remove is fine");
    assert!(lives(other.name(), "pop") && lives(other.name(), "net"), "another testbed is none of its business");
    assert!(complaint(&script(&["exec", "--name", &name, "pop", "true"])).contains("no testbed"));
}

#[test]
fn half_a_testbed_is_removed_and_a_failed_up_leaves_nothing() {
    let Some(testbed) = Testbed::up("half_a_testbed_is_removed_and_a_failed_up_leaves_nothing", 1, &[]) else { return };
    let name = testbed.name().to_owned();
    let deleted = Command::new("ip").args(["netns", "delete", &format!("{name}-net")]).status().expect("ip runs");
    assert!(deleted.success());
    assert!(complaint(&script(&["up", "--name", &name])).contains("is there already"));
    assert!(script(&["down", "--name", &name]).status.success());
    assert!(!lives(&name, "pop"));
    let refused = complaint(&script(&["up", "--name", &name, "--delay", "20"]));
    assert!(refused.contains("20") && refused.contains("unit"), "the impairer's reason is passed on: {refused}");
    assert!(!["pop", "net", "mid"].into_iter().any(|side| lives(&name, side)));
}

#[test]
fn a_panicking_test_leaves_no_testbed_behind() {
    let Some(testbed) = Testbed::up("a_panicking_test_leaves_no_testbed_behind", 1, &[]) else { return };
    let name = testbed.name().to_owned();
    let panicked = std::thread::spawn(move || {
        let _testbed = testbed;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(!lives(&name, "pop") && !lives(&name, "net"));
}

#[test]
fn without_root_one_line_says_what_is_missing() {
    let testbed = repo().join("scripts/testbed");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(testbed).arg("up");
    let output = command.output().expect("setpriv is installed");
    if String::from_utf8_lossy(&output.stderr).starts_with("setpriv") {
        eprintln!(
            "NOT RUN: without_root_one_line_says_what_is_missing: only root can become nobody, who has to be able to read {}",
            repo().display()
        );
        return;
    }
    assert!(complaint(&output).contains("need root"));
}

#[test]
fn the_impairer_ends_with_its_line_and_tells_what_it_did() {
    let Some(testbed) = Testbed::up("the_impairer_ends_with_its_line_and_tells_what_it_did", 1, &THROUGH_IMPAIRER)
    else {
        return;
    };
    send_something(&testbed.net, &testbed.pop, Testbed::POP_IPV4);
    let counters = testbed.counters();
    for direction in ["to_net", "to_pop"] {
        let count = |what: &str| counters[direction][what].as_u64().expect("a count");
        assert!(count("received") > 8, "{counters}");
        let accounted = count("lost") + count("queue_full") + count("departed") + count("waiting");
        assert_eq!(count("received"), accounted, "{counters}");
    }
    let mid = Namespace::named(&format!("{}-mid", testbed.name()));
    let runs = || {
        let pids = Command::new("ip").args(["netns", "pids", &format!("{}-mid", testbed.name())]).output();
        !pids.expect("ip runs").stdout.is_empty()
    };
    assert!(runs());
    let cut = mid.command("ip").args(["link", "delete", "mid-net"]).status().expect("ip runs");
    assert!(cut.success());
    eventually("the impairer ends with its interface", || !runs());
}
