mod full_way;

use super::*;

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::ring::TRAINS_MAX;
use super::slots::BATCH_TRAINS;

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn plain() -> UdpBackend {
    UdpBackend::new(bind_shard_socket(loopback()).expect("bind"), None).expect("backend")
}

fn ring() -> Option<UdpBackend> {
    match SendRing::open() {
        Ok(ring) => {
            let socket = bind_shard_socket(loopback()).expect("bind");
            Some(UdpBackend::new(socket, Some(ring)).expect("backend"))
        }
        Err(refused) => {
            eprintln!("NOT RUN with io_uring: {refused}");
            None
        }
    }
}

/// One of each way to send.
fn senders() -> Vec<UdpBackend> {
    std::iter::once(plain()).chain(ring()).collect()
}

fn sends_by_ring(backend: &UdpBackend) -> bool {
    matches!(backend.sender, Sender::Ring(_))
}

fn recv_all(backend: &mut UdpBackend, wanted: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while got.len() < wanted && Instant::now() < deadline {
        backend.recv(&mut |bytes, from| got.push((bytes.to_vec(), from))).expect("recv");
    }
    got
}

/// Writes a train whose bytes are `value` and sends it.
fn send(backend: &mut UdpBackend, to: SocketAddr, value: u8, len: usize, segment_len: usize) -> Sent {
    backend.frame(to)[..len].fill(value);
    backend.send_train(to, len, segment_len).expect("send")
}

#[test]
fn a_train_arrives_as_its_packets() {
    for mut sender in senders() {
        let mut receiver = plain();
        let to = receiver.local_addr();
        let len = 5 * 1200 + 333;
        for (index, byte) in sender.frame(to)[..len].iter_mut().enumerate() {
            *byte = (index / 1200) as u8;
        }
        assert_eq!(sender.send_train(to, len, 1200).expect("send"), Sent::Done);
        assert_eq!(sender.kick().expect("kick"), Sent::Done);
        let got = recv_all(&mut receiver, 6);
        let lens: Vec<usize> = got.iter().map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(lens, [1200, 1200, 1200, 1200, 1200, 333]);
        for (index, (bytes, from)) in got.iter().enumerate() {
            assert!(bytes.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(*from, sender.local_addr());
        }
    }
}

#[test]
fn single_datagrams_keep_their_bounds_and_an_empty_queue_is_no_error() {
    let mut receiver = plain();
    assert_eq!(receiver.recv(&mut |_, _| {}).expect("recv"), 0);
    let peer = UdpSocket::bind(loopback()).expect("bind");
    for len in [1usize, 17, 1472] {
        peer.send_to(&vec![7; len], receiver.local_addr()).expect("send");
    }
    let lens: Vec<usize> = recv_all(&mut receiver, 3).iter().map(|(bytes, _)| bytes.len()).collect();
    assert_eq!(lens, [1, 17, 1472]);
}

#[test]
fn a_smaller_batch_takes_so_many_a_call_and_the_rest_with_the_next() {
    let mut receiver = plain();
    assert_eq!([0, 3, usize::MAX].map(|wanted| receiver.set_recv_batch(wanted)), [1, 3, RECV_BATCH]);
    receiver.set_recv_batch(2);
    let peer = UdpSocket::bind(loopback()).expect("bind");
    for _ in 0..5 {
        peer.send_to(b"one", receiver.local_addr()).expect("send");
    }
    let calls: Vec<usize> = (0..4).map(|_| receiver.recv(&mut |_, _| {}).expect("recv")).collect();
    assert_eq!(calls, [2, 2, 1, 0]);
}

#[test]
fn ipv6_senders_are_named_rightly() {
    let Ok(socket) = bind_shard_socket(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else {
        eprintln!("not run: this machine has no IPv6 loopback");
        return;
    };
    let mut receiver = UdpBackend::new(socket, None).expect("backend");
    let peer = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
    peer.send_to(b"six", receiver.local_addr()).expect("send");
    let got = recv_all(&mut receiver, 1);
    assert_eq!(got[0].1, peer.local_addr().expect("addr"));
}

#[test]
fn a_ring_sends_with_its_batch_or_the_end_of_the_burst_and_every_train_as_it_was_written() {
    let Some(mut sender) = ring() else { return };
    let mut receiver = plain();
    let to = receiver.local_addr();
    assert_eq!(send(&mut sender, to, 1, 10, 10), Sent::Done);
    assert_eq!(receiver.recv(&mut |_, _| {}).expect("recv"), 0, "it waits for more");
    assert_eq!(sender.flush().expect("flush"), Sent::Done, "and a look for room does not send it");
    assert_eq!(receiver.recv(&mut |_, _| {}).expect("recv"), 0);
    assert_eq!(sender.kick().expect("kick"), Sent::Done);
    assert_eq!(recv_all(&mut receiver, 1)[0].0, [1; 10]);
    let mut expected = 0;
    for round in 0..20 {
        for train in 0..BATCH_TRAINS as u8 {
            assert_eq!(send(&mut sender, to, train, 3 * 100 + 7, 100), Sent::Done);
        }
        // A full batch has left without a kick.
        let got = recv_all(&mut receiver, 4 * BATCH_TRAINS);
        expected += got.len();
        assert_eq!(expected, (round + 1) * 4 * BATCH_TRAINS);
        for (index, (bytes, _)) in got.iter().enumerate() {
            let len = if index % 4 == 3 { 7 } else { 100 };
            assert_eq!(*bytes, vec![(index / 4) as u8; len], "packet {index}");
        }
    }
}

#[test]
fn a_way_out_without_segments_gets_packets_one_by_one() {
    for mut sender in senders() {
        // A socket without checksums may not send segmented datagrams (EINVAL), as over some tunnels.
        set_option(&sender.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).expect("an option");
        let mut receiver = plain();
        let to = receiver.local_addr();
        for round in 0..3 {
            for train in 0..5 {
                assert_eq!(send(&mut sender, to, round * 5 + train, 2500, 1200), Sent::Done);
            }
            assert_eq!(sender.kick().expect("kick"), Sent::Done);
            let got = recv_all(&mut receiver, 15);
            let seen: Vec<(u8, usize)> = got.iter().map(|(bytes, _)| (bytes[0], bytes.len())).collect();
            let wanted: Vec<(u8, usize)> =
                (0..5).flat_map(|train| [1200, 1200, 100].map(|len| (round * 5 + train, len))).collect();
            assert_eq!(seen, wanted);
        }
        assert!(!sender.gso && !sends_by_ring(&sender), "a ring would gain nothing");
    }
}

#[test]
fn a_peer_that_is_not_there_is_no_error() {
    for mut sender in senders() {
        let gone = UdpSocket::bind(loopback()).expect("bind").local_addr().expect("address");
        for _ in 0..3 {
            assert_eq!(send(&mut sender, gone, 1, 100, 100), Sent::Done);
            assert_eq!(sender.kick().expect("kick"), Sent::Done);
        }
    }
}

#[test]
fn a_ring_does_nothing_but_what_it_was_made_for() {
    if ring().is_none() {
        return;
    }
    let forbidden = SendRing::restricted_to(io_uring::opcode::Nop::CODE).expect("a ring");
    let socket = bind_shard_socket(loopback()).expect("bind");
    let mut sender = UdpBackend::new(socket, Some(forbidden)).expect("backend");
    send(&mut sender, loopback(), 1, 10, 10);
    assert_eq!(sender.kick().expect_err("refused").raw_os_error(), Some(libc::EACCES));
}

#[test]
fn a_ring_that_takes_nothing_any_more_is_left_for_plain_calls_and_no_train_is_lost() {
    let Some(mut sender) = ring() else { return };
    let Sender::Ring(by_ring) = &sender.sender else { unreachable!("just made") };
    let fd = by_ring.ring_fd();
    let elsewhere = std::fs::File::open("/dev/null").expect("there is one");
    let mut receiver = plain();
    let to = receiver.local_addr();
    for value in 0..7 {
        assert_eq!(send(&mut sender, to, value, 250, 100), Sent::Done);
    }
    // SAFETY: both descriptors are open; the ring's own stays valid, as one of another file.
    assert!(unsafe { libc::dup2(elsewhere.as_fd().as_raw_fd(), fd) } >= 0);
    assert_eq!(sender.kick().expect("sent otherwise"), Sent::Done);
    assert!(!sends_by_ring(&sender));
    assert_eq!(send(&mut sender, to, 7, 250, 100), Sent::Done);
    let seen: Vec<u8> = recv_all(&mut receiver, 24).iter().map(|(bytes, _)| bytes[0]).collect();
    assert_eq!(seen, (0..8).flat_map(|value| [value; 3]).collect::<Vec<u8>>());
}

/// Lets `call` fail with `errno` on this thread from now on, as a container's policy does.
fn forbid(call: libc::c_long, errno: libc::c_int) {
    let instruction = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1),
        instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until the calls return; both change this thread alone.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(done, "{}", std::io::Error::last_os_error());
}

#[test]
fn where_a_policy_or_the_kernel_has_no_io_uring_the_reason_is_told() {
    let cases = [
        (libc::SYS_io_uring_setup, libc::EPERM, "seccomp"),
        (libc::SYS_io_uring_setup, libc::ENOSYS, "this kernel has none"),
        (libc::SYS_io_uring_setup, libc::ENOMEM, "ulimit -l"),
        // A kernel that makes rings and cannot restrict them.
        (libc::SYS_io_uring_register, libc::EINVAL, "Linux 5.10"),
    ];
    for (call, errno, wanted) in cases {
        let told = std::thread::spawn(move || {
            forbid(call, errno);
            SendRing::open().map(drop).expect_err("forbidden").to_string()
        });
        let told = told.join().expect("it tells");
        let disabled = told.contains("kernel.io_uring_disabled");
        assert!(told.contains("io_uring cannot be had") && (disabled || told.contains(wanted)), "{errno}: {told}");
    }
}

#[test]
fn with_too_little_locked_memory_the_reason_is_told() {
    let test = "with_too_little_locked_memory_the_reason_is_told";
    if !geteuid().is_root() {
        eprintln!("NOT RUN: {test}: needs root, so that the limit holds for its own thread alone");
        return;
    }
    let before = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(0), ..before }).expect("lowered");
    let made = std::thread::spawn(|| {
        // Without CAP_IPC_LOCK rings count.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none).expect("dropped");
        SendRing::open().map(drop)
    });
    let made = made.join().expect("it ends");
    setrlimit(Resource::Memlock, before).expect("as before");
    match made {
        Err(refused) => assert!(refused.to_string().contains("ulimit -l"), "{refused}"),
        Ok(()) => eprintln!("NOT RUN: {test}: this kernel does not count rings as locked memory"),
    }
}

#[test]
fn more_trains_than_slots_are_never_on_their_way() {
    let Some(mut sender) = ring() else { return };
    let peer = UdpSocket::bind(loopback()).expect("bind");
    let to = peer.local_addr().expect("address");
    for value in 0..4 * TRAINS_MAX {
        assert!(!sender.frame(to).is_empty(), "{value}");
        assert_eq!(send(&mut sender, to, value as u8, 60_000, 1_000), Sent::Done);
    }
}
