//! The program of a SO_REUSEPORT group, with real sockets on the loopback interface.

mod support;

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Type};
use streams_xdp_prog::{ReuseportProgram, Steering, SteeringMode, XdpError};
use support::netns::keep_rights;
use support::packet::{QUIC_V1, long, short};
use support::{Random, cid_of, steering, with_rights};

const CLIENTS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(60);

fn group_member(address: SocketAddr) -> UdpSocket {
    let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("UDP socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.bind(&address.into()).expect("a free port");
    socket.set_nonblocking(true).expect("a socket");
    socket.into()
}

/// Two sockets of one group.
fn group() -> (Vec<UdpSocket>, SocketAddr) {
    let first = group_member("127.0.0.1:0".parse().expect("address"));
    let address = first.local_addr().expect("bound");
    (vec![first, group_member(address)], address)
}

fn two_shards() -> Steering {
    Steering { shards: 2, ..steering(SteeringMode::PerQueue) }
}

fn attach(test: &str, sockets: &[UdpSocket], steering: &Steering) -> Option<ReuseportProgram> {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    with_rights(test, ReuseportProgram::attach(&sockets, steering))
}

fn clients(server: SocketAddr) -> Vec<UdpSocket> {
    let client = || {
        let client = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        client.connect(server).expect("an address of the same family");
        client
    };
    (0..CLIENTS).map(|_| client()).collect()
}

/// The first `count` datagrams that arrive at all sockets together, and the place of each one's socket.
fn receive(sockets: &[UdpSocket], count: usize) -> Vec<(usize, SocketAddr, Vec<u8>)> {
    let mut datagrams = Vec::new();
    let mut buffer = [0; 2048];
    let start = Instant::now();
    while datagrams.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} datagrams arrived", datagrams.len());
        for (place, socket) in sockets.iter().enumerate() {
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                datagrams.push((place, from, buffer[..len].to_vec()));
            }
        }
    }
    datagrams
}

#[test]
fn a_short_header_reaches_its_shard_from_any_port() {
    let test = "a_short_header_reaches_its_shard_from_any_port";
    let (sockets, address) = group();
    let steering = two_shards();
    let Some(program) = attach(test, &sockets, &steering) else { return };
    let mut random = Random(1);
    for client in clients(address) {
        for shard in 0..2 {
            client.send(&short(&cid_of(&steering, shard, &mut random))).expect("sent");
        }
    }
    let datagrams = receive(&sockets, 2 * CLIENTS);
    for (place, _, payload) in &datagrams {
        assert_eq!(steering.owner(&payload[1..17]), Some(*place as u8));
    }
    let counters = program.counters().expect("counters");
    assert_eq!((&counters.selected[..2], counters.hashed, counters.no_socket), (&[32, 32][..], 0, 0));
}

#[test]
fn everything_else_is_spread_by_the_kernel_and_stays_with_its_client() {
    let test = "everything_else_is_spread_by_the_kernel_and_stays_with_its_client";
    let (sockets, address) = group();
    let steering = two_shards();
    let Some(program) = attach(test, &sockets, &steering) else { return };
    let mut random = Random(2);
    let ours = [0, 1].map(|shard| cid_of(&steering, shard, &mut random));
    let mut other_epoch = ours[0];
    other_epoch[0] ^= 0x20;
    let payloads = [
        long(QUIC_V1, &[7; 8], &[]),
        long(QUIC_V1, &ours[0], &[]),
        long(QUIC_V1, &ours[1], &[]),
        short(&other_epoch),
        short(&cid_of(&steering, 2, &mut random)),
        short(&ours[1])[..16].to_vec(),
        vec![0; 57],
        Vec::new(),
    ];
    for client in clients(address) {
        for payload in &payloads {
            client.send(payload).expect("sent");
        }
    }
    let mut homes: HashMap<SocketAddr, HashSet<usize>> = HashMap::new();
    let total = CLIENTS * payloads.len();
    for (place, from, _) in receive(&sockets, total) {
        homes.entry(from).or_default().insert(place);
    }
    assert!(homes.values().all(|sockets| sockets.len() == 1), "a client has one home: {homes:?}");
    assert_eq!(homes.values().flatten().collect::<HashSet<_>>().len(), 2, "32 clients use both sockets");
    let counters = program.counters().expect("counters");
    assert_eq!((counters.hashed, counters.selected.iter().sum::<u64>()), (total as u64, 0));
}

#[test]
fn the_group_is_steered_after_the_program_is_dropped_and_without_rights() {
    let test = "the_group_is_steered_after_the_program_is_dropped_and_without_rights";
    std::thread::spawn(move || {
        let (mut sockets, address) = group();
        let steering = two_shards();
        let Some(program) = attach(test, &sockets, &steering) else { return };
        keep_rights(&[]);
        let mut random = Random(3);
        let clients = clients(address);
        let mut turn = clients.iter().cycle();
        let mut send = |shard| {
            let client = turn.next().expect("an endless round of clients");
            client.send(&short(&cid_of(&steering, shard, &mut random))).expect("sent");
        };
        send(1);
        assert_eq!(receive(&sockets, 1)[0].0, 1);
        assert_eq!(program.counters().expect("counters").selected[1], 1);
        // The shard of a closed socket: the kernel gives its packets to whoever is left.
        drop(sockets.remove(1));
        send(1);
        receive(&sockets, 1);
        assert_eq!(program.counters().expect("counters").no_socket, 1);
        sockets.push(group_member(address));
        drop(program);
        // One that joins later has no shard, but shares in what is hashed; shard 0 keeps all of its own.
        for _ in 0..CLIENTS {
            send(0);
        }
        assert!(receive(&sockets, CLIENTS).iter().all(|&(place, ..)| place == 0));
    })
    .join()
    .expect("the thread's own assertions");
}

#[test]
fn an_impossible_group_is_named() {
    let (sockets, _) = group();
    let steering = two_shards();
    let error = ReuseportProgram::attach(&[sockets[0].as_fd()], &steering).expect_err("one socket is missing");
    assert_eq!(error.to_string(), "steering: 1 sockets for 2 shards; each shard needs one");
    let alone = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    match ReuseportProgram::attach(&[sockets[0].as_fd(), alone.as_fd()], &steering) {
        Err(XdpError::NoRights) => {
            support::did_not_run("an_impossible_group_is_named", "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("cannot put a socket at index 1: ") && line.contains("SO_REUSEPORT"), "{line}");
        }
        Ok(_) => panic!("a socket without SO_REUSEPORT is in no group"),
    }
}
