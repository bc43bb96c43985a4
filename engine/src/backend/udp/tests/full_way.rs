//! A way out that is full: on a link whose neighbour does not answer yet, the kernel keeps packets and counts them against the
//! socket's buffer.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use rustix::process::geteuid;

use super::*;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TRAINS: usize = 100;

/// Two network namespaces and a link between them, removed when it drops.
struct Link {
    here: String,
    there: String,
}

impl Link {
    fn new(name: &str) -> Self {
        let link = Self {
            here: format!("st-{name}-a-{}", std::process::id()),
            there: format!("st-{name}-b-{}", std::process::id()),
        };
        let Self { here, there } = &link;
        for line in [
            format!("netns add {here}"),
            format!("netns add {there}"),
            format!("link add va netns {here} type veth peer name vb netns {there} address 02:00:00:00:00:02"),
            format!("-n {here} address add {HERE}/24 dev va"),
            format!("-n {there} address add {THERE}/24 dev vb"),
            format!("-n {there} link set vb arp off up"),
            format!("-n {here} link set va up"),
        ] {
            ip(&line);
        }
        let patience = "echo 60000 > /proc/sys/net/ipv4/neigh/va/retrans_time_ms";
        let set = Command::new("ip").args(["netns", "exec", here, "sh", "-c", patience]).status().expect("ip runs");
        assert!(set.success());
        link
    }

    /// From now on the neighbour is known.
    fn resolve(&self) {
        ip(&format!("-n {} neighbour replace {THERE} lladdr 02:00:00:00:00:02 dev va", self.here));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Puts this thread into a namespace.
fn enter(name: &str) {
    let namespace = File::open(format!("/run/netns/{name}")).expect("it was made");
    // SAFETY: an open descriptor; it changes this thread alone.
    assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
}

/// A backend on the link whose socket may keep next to nothing.
fn narrow(by_ring: bool) -> UdpBackend {
    let ring = by_ring.then(|| SendRing::open().expect("io_uring"));
    let socket = bind_shard_socket((HERE, 0).into()).expect("bind");
    socket.set_send_buffer_size(1).expect("the least there is");
    UdpBackend::new(socket, ring).expect("backend")
}

/// Hands trains over until one is blocked, then the rest while the way is free; nothing may be missing at the other end.
fn fill_and_free(link: &Link, by_ring: bool) {
    enter(&link.there);
    let mut receiver = UdpBackend::new(bind_shard_socket((THERE, 0).into()).expect("bind"), None).expect("backend");
    enter(&link.here);
    let (mut sender, to) = (narrow(by_ring), receiver.local_addr());
    let mut handed = 0;
    let mut hand_over = |sender: &mut UdpBackend| {
        handed += 1;
        send(sender, to, handed as u8, 1_000, 1_000)
    };
    let blocked = (0..TRAINS).position(|_| hand_over(&mut sender) == Sent::Blocked).expect("a full way") + 1;
    for _ in 0..3 {
        assert_eq!(sender.flush().expect("flush"), Sent::Blocked, "nothing has changed");
    }
    if by_ring {
        assert_eq!(sender.kick().expect("kick"), Sent::Blocked, "whoever sends no more is told as well");
    }
    link.resolve();
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut left = TRAINS - blocked;
    while got.len() < TRAINS {
        assert!(Instant::now() < deadline, "{} of {TRAINS} arrived", got.len());
        while left > 0 && sender.flush().expect("flush") == Sent::Done {
            hand_over(&mut sender);
            left -= 1;
        }
        sender.flush().and_then(|_| sender.kick()).expect("sent");
        receiver.recv(&mut |bytes, _| got.push(bytes[0])).expect("recv");
    }
    got.sort_unstable();
    assert_eq!(got, (1..=TRAINS as u8).collect::<Vec<u8>>(), "each once");
}

#[test]
fn trains_that_find_no_room_are_kept_and_sent_when_there_is_some() {
    if !geteuid().is_root() {
        eprintln!("NOT RUN: trains_that_find_no_room_are_kept_and_sent_when_there_is_some: needs root");
        return;
    }
    let ways = if ring().is_some() { vec![false, true] } else { vec![false] };
    for by_ring in ways {
        let link = Link::new(if by_ring { "ring" } else { "plain" });
        // A thread of its own goes into the namespaces.
        std::thread::scope(|scope| {
            scope.spawn(|| fill_and_free(&link, by_ring)).join().expect("as it should be");
        });
    }
}
