//! Who is let in, and on what proof.

use super::*;

fn limits(retry_half_open_min: usize) -> EndpointLimits {
    EndpointLimits { retry_half_open_min, ..EndpointLimits::default() }
}

/// The client has its Retry and has not answered yet.
fn retried() -> World {
    let mut world = World::before_handshake(ALPN[0], limits(0));
    assert!(world.up());
    // Each datagram of the first flight is answered, as nothing is remembered; the client takes the first answer.
    assert_eq!(world.endpoint.stats().retries, world.sent.len() as u64);
    assert_eq!(world.endpoint.connections(), 0);
    assert!(world.wire.packets.iter().all(|(_, retry)| retry.len() < 1200 / 3));
    assert!(world.down());
    world
}

fn told_invalid_token(world: &World) {
    let error = world.client.peer_error().expect("told at once");
    assert_eq!((error.is_app, error.error_code), (false, 0x0b));
    assert!(world.endpoint.stats().tokens_refused > 0);
    assert_eq!((world.endpoint.connections(), world.endpoint.half_open()), (0, 0));
}

#[test]
fn transport_parameters_fit_after_a_retry_with_ids_of_any_length() {
    let mut config = super::super::config::server_config(&tls_files(), 600_000).expect("a configuration");
    config.set_stateless_reset_token(Some(u128::MAX));
    let (id, original) = (ConnectionId::from_vec(vec![1; cid::CID_LEN]), ConnectionId::from_vec(vec![2; 20]));
    let ids = quiche::RetryConnectionIds { original_destination_cid: &original, retry_source_cid: &id };
    let made: quiche::Result<Quic> = quiche::accept_with_retry(&id, ids, server(), client(), &mut config);
    assert!(made.is_ok(), "{:?}", made.err());
}

#[test]
fn a_client_that_answers_its_retry_is_let_in_and_served() {
    let mut world = retried();
    world.exchange();
    assert!(world.client.is_established());
    let stats = world.endpoint.stats();
    assert_eq!((stats.accepted, stats.tokens_refused, stats.junk), (1, 0, 0));
    assert_eq!(world.endpoint.half_open(), 0);
    world.media(100_000, |_| ());
}

#[test]
fn a_token_from_another_address_is_refused_with_a_word() {
    let mut world = retried();
    world.nat = SocketAddr::from(([192, 0, 2, 2], 5001));
    world.exchange();
    told_invalid_token(&world);
}

#[test]
fn a_token_that_came_too_late_is_refused_with_a_word() {
    let mut world = retried();
    world.now += Duration::from_secs(11);
    world.exchange();
    told_invalid_token(&world);
}

#[test]
fn a_token_that_is_sent_again_makes_no_second_connection() {
    let mut world = retried();
    let before = world.sent.len();
    world.up();
    let again = world.sent.get(before).expect("the Initial with the token").clone();
    for _ in 0..10 {
        assert_eq!(world.arrive(&mut again.clone(), client()), None);
    }
    assert_eq!((world.endpoint.connections(), world.endpoint.half_open()), (1, 1));
    world.exchange();
    assert!(world.client.is_established());
}

#[test]
fn retry_begins_with_the_number_of_half_open_handshakes_and_ends_with_it() {
    let mut world = World::before_handshake(ALPN[0], limits(3));
    let mut early: Vec<_> = (0..3).map(|number| connect(ALPN[0], [10 + number; 16])).collect();
    for client in &mut early {
        std::mem::swap(&mut world.client, client);
        world.up();
        std::mem::swap(&mut world.client, client);
    }
    assert_eq!((world.endpoint.half_open(), world.endpoint.stats().retries), (3, 0));
    // The answers to the three are lost, and the fourth is asked for proof.
    while world.endpoint.wants_flush() {
        world.flush();
    }
    world.wire.packets.clear();
    world.exchange();
    assert!(world.client.is_established());
    let retries = world.endpoint.stats().retries;
    assert_eq!(world.endpoint.half_open(), 3);
    assert!(retries > 0);
    // One of the three goes on after all (its first flight was answered, the answer is lost, and it asks again).
    let mut slow = early.pop().expect("one of three");
    std::thread::sleep(slow.timeout().expect("a timer"));
    slow.on_timeout();
    world.client = slow;
    while world.endpoint.half_open() == 3 {
        world.exchange();
        let due = world.endpoint.next_timeout().expect("a timer");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        world.now = Instant::now();
        world.endpoint.handle_timeouts(world.now, &mut world.record);
    }
    world.client = connect(ALPN[0], [20; 16]);
    world.exchange();
    assert!(world.client.is_established());
    assert_eq!((world.endpoint.half_open(), world.endpoint.stats().retries), (2, retries));
}

#[test]
fn an_initial_with_the_id_of_another_shard_goes_there() {
    let mut world = World::new(ALPN[0]);
    let id = ids().issue(1).expect("an id");
    let mut initial = [&[0xc3, 0, 0, 0, 1, 16], &id[..], &[0, 0]].concat();
    initial.resize(1200, 0);
    assert_eq!(world.arrive(&mut initial, client()), Some(Toss { shard: 1 }));
    let mut short = [&[0x41], &id[..], &[9; 100]].concat();
    assert_eq!(world.arrive(&mut short, client()), Some(Toss { shard: 1 }));
    // With a wrong MAC it names nobody.
    short[16] ^= 1;
    assert_eq!(world.arrive(&mut short, client()), None);
    assert_eq!(world.endpoint.stats().junk, 1);
}

#[test]
fn a_connection_of_a_shard_that_is_no_more_is_reset() {
    let mut world = World::new(ALPN[0]);
    let id = ids().issue(40).expect("an id");
    let mut short = [&[0x41], &id[..], &[9; 100]].concat();
    assert_eq!(world.arrive(&mut short, client()), Some(Toss { shard: 40 }));
    world.endpoint.orphan(&mut short, client(), &mut world.wire);
    let (to, reset) = world.wire.packets.last().expect("a reset");
    assert_eq!((*to, world.endpoint.stats().resets), (client(), 1));
    assert_eq!(reset[reset.len() - 16..], ids().reset_token(&id).to_be_bytes());
}

/// A client whose first flight is one datagram, without the long key share of post-quantum cryptography.
fn short_connect(alpn: &[u8], id: [u8; 16]) -> quiche::Connection {
    let mut config = client_config(alpn);
    config.set_curves_list("X25519").expect("a curve");
    quiche::connect(None, &ConnectionId::from_ref(&id), client(), server(), &mut config).expect("a client")
}

#[test]
fn a_client_without_a_protocol_of_ours_is_told_at_once() {
    // BoringSSL lets no client of QUIC leave ALPN out; on the server's side that is the same alert.
    for alpn in [&b"moqt-22"[..], b"moqt-16", b"h2"] {
        let mut world = World::before_handshake(alpn, limits(3));
        for number in 0..20 {
            world.client = short_connect(alpn, [number; 16]);
            world.exchange();
            let error = world.client.peer_error().expect("told at once");
            assert_eq!((error.is_app, error.error_code), (false, 0x178));
            assert_eq!(error.reason, b"this server speaks moqt-18 and h3");
        }
        let stats = world.endpoint.stats();
        assert_eq!((stats.handshakes_failed, stats.accepted, stats.junk, stats.retries), (20, 0, 0, 0));
        assert_eq!(world.endpoint.connections(), 0);
        // With a first flight of two datagrams there is a connection for a moment.
        world.client = connect(alpn, [20; 16]);
        world.exchange();
        assert_eq!(world.client.peer_error().map(|error| error.error_code), Some(0x178));
        assert_eq!(world.endpoint.stats().junk, 0);
        // Nobody else is asked for proof because of them.
        assert!(world.connect(ALPN[0]).is_established());
        assert_eq!(world.endpoint.stats().retries, 0);
    }
}

#[test]
fn a_flood_of_refused_clients_brings_up_retry() {
    let mut world = World::before_handshake(b"h2", EndpointLimits { half_open_max: 5, ..EndpointLimits::default() });
    for number in 0..5 {
        world.client = short_connect(b"h2", [number; 16]);
        world.exchange();
    }
    assert_eq!(world.endpoint.stats().retries, 0);
    assert!(world.connect(ALPN[0]).is_established());
    assert!(world.endpoint.stats().retries > 0);
}

impl World {
    /// A client that answers its Retry, when it gets one, and then says nothing more. What it is sent is lost but for the Retry.
    fn half_open(&mut self, from: SocketAddr, id: [u8; 16]) {
        let mut client = connect_from(from, ALPN[0], id);
        let mut packet = [0; 1500];
        for _ in 0..2 {
            self.wire.packets.clear();
            while let Ok((len, _)) = client.send(&mut packet) {
                assert_eq!(self.arrive(&mut packet[..len], from), None);
            }
            for (to, mut answer) in std::mem::take(&mut self.wire.packets) {
                assert_eq!(to, from);
                let _ = client.recv(&mut answer, RecvInfo { from: server(), to });
            }
        }
    }
}

fn neighbour(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number], 9000))
}

#[test]
fn half_open_handshakes_of_one_address_lock_nobody_out() {
    let limits = EndpointLimits { retry_half_open_min: 8, half_open_max: 80, ..EndpointLimits::default() };
    let mut world = World::before_handshake(ALPN[0], limits);
    for number in 0..8 {
        world.half_open(neighbour(number), [number; 16]);
    }
    assert_eq!((world.endpoint.half_open(), world.endpoint.stats().retries), (8, 0));
    // From here on one address answers its Retries, a thousand times: it has a tenth of the places, and its own oldest go.
    for number in 0..1_000u16 {
        let [high, low] = number.to_be_bytes();
        let mut id = [0xee; 16];
        (id[0], id[1]) = (high, low);
        world.half_open(SocketAddr::from(([203, 0, 113, 5], 10_000 + number)), id);
    }
    assert_eq!(world.endpoint.half_open(), 8 + 80 / 8);
    assert_eq!(world.endpoint.stats().handshakes_failed, 1_000 - 80 / 8);
    assert_eq!(world.endpoint.stats().refused, 0);
    // A viewer gets in, and one behind the address of the flood as well.
    world.exchange();
    assert!(world.client.is_established());
    world.nat = SocketAddr::from(([203, 0, 113, 5], 999));
    assert!(world.connect(ALPN[0]).is_established());
}

#[test]
fn the_oldest_half_open_handshake_goes_for_a_new_client() {
    let limits = EndpointLimits { retry_half_open_min: 4, half_open_max: 8, ..EndpointLimits::default() };
    let mut world = World::before_handshake(ALPN[0], limits);
    for number in 0..200 {
        world.half_open(neighbour(number), [number; 16]);
        assert!(world.endpoint.half_open() <= 8);
    }
    assert_eq!((world.endpoint.half_open(), world.endpoint.connections()), (8, 8));
    assert_eq!((world.endpoint.stats().handshakes_failed, world.endpoint.stats().refused), (192, 0));
    world.exchange();
    assert!(world.client.is_established());
    world.media(50_000, |_| ());
}

#[test]
fn a_handshake_that_is_not_done_in_time_is_over_whatever_it_sends() {
    let mut world = World::before_handshake(ALPN[0], EndpointLimits::default());
    assert!(world.up());
    while world.endpoint.wants_flush() {
        world.flush();
    }
    world.wire.packets.clear();
    let first = world.sent.first().expect("an Initial").clone();
    for second in 1..=5 {
        world.now += Duration::from_secs(1);
        assert_eq!(world.arrive(&mut first.clone(), client()), None);
        world.endpoint.handle_timeouts(world.now, &mut world.record);
        assert_eq!(world.endpoint.connections(), 1, "after {second} s it is there or has its last word to say");
    }
    world.flush();
    assert_eq!((world.endpoint.connections(), world.endpoint.half_open()), (0, 0));
    assert_eq!((world.endpoint.ids_known(), world.endpoint.stats().handshakes_failed), (0, 1));
    assert_eq!(world.endpoint.next_timeout(), None);
    assert!(!world.wire.packets.is_empty(), "the client is told");
}

#[test]
fn a_handshake_that_brings_more_than_any_needs_is_over() {
    let mut world = World::before_handshake(ALPN[0], EndpointLimits::default());
    assert!(world.up());
    let first = world.sent.first().expect("an Initial").clone();
    let so_far: usize = world.sent.iter().map(Vec::len).sum();
    for _ in 0..((32 << 10) - so_far) / first.len() {
        assert_eq!(world.arrive(&mut first.clone(), client()), None);
    }
    assert_eq!((world.endpoint.connections(), world.endpoint.stats().handshakes_failed), (1, 0));
    assert_eq!(world.arrive(&mut first.clone(), client()), None);
    assert_eq!((world.endpoint.connections(), world.endpoint.stats().handshakes_failed), (0, 1));
}
