//! A way out that is full: on a link whose neighbour does not answer yet, the kernel keeps packets and counts them against the
//! socket's buffer.

use super::*;
use crate::backend::link::{HERE, Link, THERE, inside};

const TRAINS: usize = 100;

/// Hands trains over until one is blocked, then the rest while the way is free; nothing may be missing at the other end.
fn fill_and_free(link: &Link, by_ring: bool) {
    link.up(false);
    let bind = |address| move || bind_shard_socket((address, 0).into()).expect("bind");
    let (here, there) = (inside(&link.here, bind(HERE)), inside(&link.there, bind(THERE)));
    here.set_send_buffer_size(1).expect("the least there is");
    let ring = by_ring.then(|| SendRing::open().expect("io_uring"));
    let mut sender = UdpBackend::new(here, ring).expect("backend");
    let mut receiver = UdpBackend::new(there, None).expect("backend");
    let to = receiver.local_addr();
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
    let test = "trains_that_find_no_room_are_kept_and_sent_when_there_is_some";
    let ways = if ring().is_some() { vec![false, true] } else { vec![false] };
    for by_ring in ways {
        let Some(link) = Link::new(test, if by_ring { "ring" } else { "plain" }) else { return };
        fill_and_free(&link, by_ring);
    }
}
