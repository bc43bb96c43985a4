//! Clients whose address changes, with or without their will.

use super::super::config::PATHS_MAX;
use super::*;

fn elsewhere(number: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 40_000 + number))
}

/// The client gives the server ids to write to, as clients do that mean to move.
fn give_ids(world: &mut World) {
    for number in 0..world.client.scids_left() as u8 {
        let id = [100 + number; 16];
        world.client.new_scid(&ConnectionId::from_ref(&id), u128::from(number), false).expect("room for it");
    }
    world.exchange();
}

/// A NAT gives the client's socket another address, and the next thing that the client says comes from there.
fn rebind(world: &mut World, outside: SocketAddr) {
    world.nat = outside;
    world.client.send_ack_eliciting().expect("open");
    world.exchange();
}

#[test]
fn a_nat_that_rebinds_in_the_middle_of_a_stream_goes_unnoticed() {
    for spare_ids in [false, true] {
        let mut world = World::new(ALPN[0]);
        if spare_ids {
            give_ids(&mut world);
        }
        world.media(300_000, |world| rebind(world, elsewhere(1)));
        assert_eq!(world.endpoint.stats().migrations, 1);
        assert_eq!(world.endpoint.paths_of(world.session()), 2);
        world.media(100_000, |_| ());
        assert_eq!(world.client.peer_error(), None);
    }
}

#[test]
fn a_client_may_change_its_address_often_and_its_paths_are_bounded() {
    let mut world = World::new(ALPN[0]);
    give_ids(&mut world);
    let last = PATHS_MAX as u16 - 1;
    for hop in 1..=last {
        world.media(20_000, |world| rebind(world, elsewhere(hop)));
        assert_eq!(world.endpoint.stats().migrations, u64::from(hop));
    }
    for hop in last + 1..last + 20 {
        rebind(&mut world, elsewhere(hop));
    }
    assert_eq!(world.endpoint.paths_of(world.session()), PATHS_MAX as usize);
    // Back at an address that is known it goes on.
    rebind(&mut world, elsewhere(3));
    world.media(20_000, |_| ());
    assert_eq!(world.endpoint.stats().migrations, u64::from(last) + 1);
}

#[test]
fn a_client_that_moves_by_itself_takes_its_stream_along() {
    let mut world = World::new(ALPN[0]);
    give_ids(&mut world);
    let new = SocketAddr::from(([192, 0, 2, 3], 6000));
    world.client.probe_path(new, server()).expect("ids are there");
    world.exchange();
    assert_eq!(world.client.is_path_validated(new, server()), Ok(true));
    assert_eq!(world.endpoint.stats().migrations, 0, "probing is not moving");
    world.media(300_000, |world| {
        world.client.migrate(new, server()).expect("ids are there");
        world.client.send_ack_eliciting().expect("open");
        world.exchange();
    });
    for turn in 1..=10 {
        assert_eq!(world.endpoint.stats().migrations, turn);
        let to = if turn % 2 == 0 { new } else { client() };
        world.client.migrate(to, server()).expect("a known path");
        world.client.send_ack_eliciting().expect("open");
        world.exchange();
        world.media(50_000, |_| ());
    }
    assert_eq!(world.endpoint.paths_of(world.session()), 2);
}

#[test]
fn ids_that_a_client_gives_back_are_replaced_for_ever_and_never_pile_up() {
    let mut world = World::new(ALPN[0]);
    assert_eq!(world.client.available_dcids(), 2);
    let known = world.endpoint.ids_known();
    for sequence in 1..=200 {
        world.client.retire_dcid(sequence).expect("a spare one");
        world.exchange();
        assert_eq!(world.client.available_dcids(), 2, "after {sequence}");
        assert_eq!(world.endpoint.ids_known(), known);
    }
    world.media(50_000, |_| ());
}

#[test]
fn junk_with_a_true_id_from_another_address_moves_nothing() {
    let mut world = World::new(ALPN[0]);
    world.media(200_000, |world| {
        let genuine = world.sent.last().expect("a packet").clone();
        assert_eq!(genuine[0] & 0xc0, 0x40, "a short header");
        for number in 0..1_000u16 {
            let mut junk = genuine[..17].to_vec();
            junk.extend((0..1_000u16).map(|at| (at.wrapping_mul(number | 1) >> 3) as u8));
            assert_eq!(world.arrive(&mut junk, elsewhere(number)), None);
            // A copy of what the client has said is not what it says now.
            assert_eq!(world.arrive(&mut genuine.clone(), elsewhere(number)), None);
        }
        while world.endpoint.wants_flush() {
            world.flush();
        }
        assert!(world.wire.packets.iter().all(|(to, _)| *to == client()));
    });
    assert_eq!(world.endpoint.paths_of(world.session()), 1);
    assert_eq!((world.endpoint.stats().migrations, world.endpoint.connections()), (0, 1));
}
