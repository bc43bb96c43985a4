//! Datagrams of a session, to the sink and back.

use super::*;

#[test]
fn datagrams_go_both_ways_and_what_does_not_fit_is_told() {
    let mut world = World::new(ALPN[0]);
    world.client.dgram_send(b"from the client").expect("datagrams are negotiated");
    world.exchange();
    assert_eq!(world.record.datagrams, [b"from the client"]);

    assert!(world.pump(|io| io.send_datagram(b"from the relay")));
    assert!(!world.pump(|io| io.send_datagram(&[0; 5_000])), "longer than a packet");
    world.exchange();
    let mut buffer = [0; 1_500];
    let len = world.client.dgram_recv(&mut buffer).expect("one came");
    assert_eq!(&buffer[..len], b"from the relay");
    assert!(world.client.dgram_recv(&mut buffer).is_err(), "and no other");

    // A queue that nobody empties takes no more than its length.
    let taken = (0..1_000).filter(|_| world.pump(|io| io.send_datagram(b"x"))).count();
    assert!(taken < 100, "{taken}");
}
