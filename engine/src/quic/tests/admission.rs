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
