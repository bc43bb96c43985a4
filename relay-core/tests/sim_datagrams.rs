//! Objects in datagrams reach the subscribers of their track in datagrams, on every shard.

mod sim;

use std::time::Duration;

use bytes::Bytes;
use sim::{ClientId, Link, Net, Shards, namespace, payload, track};
use streams_relay_core::client::{Join, SubscribeRequest};
use streams_relay_core::relay::RelayConfig;
use streams_relay_core::wire::{Datagram, DatagramBody, Draft, Location, ObjectDatagram, ObjectStatus};

const ALIAS: u64 = 77;

fn object(object: u64, body: DatagramBody) -> ObjectDatagram {
    let properties = Bytes::new();
    ObjectDatagram { track_alias: ALIAS, group: 4, object, priority: Some(9), properties, body }
}

fn send(net: &mut Net, publisher: ClientId, object: &ObjectDatagram) {
    let mut wire = Vec::new();
    object.encode(Draft::D18, &mut wire);
    let (now, session) = (net.now, net.session(publisher));
    net.relays[0].datagram(now, session, &wire);
    net.run(Duration::from_millis(5));
}

fn received(net: &Net, viewer: ClientId) -> Vec<ObjectDatagram> {
    let decoded = net.peers[viewer.0].down.datagrams.iter().map(|wire| Datagram::decode(Draft::D18, wire).unwrap());
    let objects = decoded.filter_map(|datagram| match datagram {
        Datagram::Object(object) => Some(object),
        Datagram::Padding => None,
    });
    objects.collect()
}

#[test]
fn every_subscriber_gets_the_objects_of_a_publishers_datagrams() {
    let mut net = Net::new(sim::seed(330), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
    let name = track(namespace(&["moq", "test"]), "track");
    let publisher = net.join(0, "/", Link::default());
    net.client(publisher).publish(name.clone(), ALIAS, None);
    net.run(Duration::from_millis(50));
    let join = |join| SubscribeRequest { join, ..SubscribeRequest::live(name.clone()) };
    let viewers: Vec<_> = [0, 1, 1].into_iter().map(|shard| net.join(shard, "/", Link::default())).collect();
    for viewer in &viewers {
        net.client(*viewer).subscribe(join(Join::NextObject));
    }
    // These two want nothing of it: another group, and nothing at all.
    let later = net.join(0, "/", Link::default());
    net.client(later).subscribe(join(Join::From(Location::new(5, 0))));
    let held = net.join(0, "/", Link::default());
    net.client(held).subscribe(SubscribeRequest { forward: false, ..join(Join::NextObject) });
    net.run(Duration::from_millis(100));
    let sent = [
        object(0, DatagramBody::Payload { payload: payload(4, 0, 1_000), end_of_group: false }),
        object(1, DatagramBody::Payload { payload: payload(4, 1, 20), end_of_group: true }),
        object(2, DatagramBody::Status(ObjectStatus::EndOfGroup)),
    ];
    for object in &sent {
        send(&mut net, publisher, object);
    }
    for viewer in viewers {
        let objects = received(&net, viewer);
        let bodies: Vec<_> =
            objects.iter().map(|object| (object.group, object.object, object.priority, &object.body)).collect();
        let expected: Vec<_> =
            sent.iter().map(|object| (object.group, object.object, object.priority, &object.body)).collect();
        assert_eq!(bodies, expected);
    }
    assert_eq!(received(&net, later), []);
    assert_eq!(received(&net, held), []);
    let counters = net.relays[0].counters();
    assert_eq!((counters.objects_in, counters.objects_out, counters.datagrams_dropped), (3, 3, 0));
}

#[test]
fn a_flood_of_datagrams_is_bounded_and_counted() {
    let mut net = Net::new(sim::seed(331), Shards(1), RelayConfig { open: true, ..RelayConfig::default() });
    let name = track(namespace(&["moq", "test"]), "track");
    let publisher = net.join(0, "/", Link::default());
    net.client(publisher).publish(name.clone(), ALIAS, None);
    let viewer = net.join(0, "/", Link::default());
    net.run(Duration::from_millis(50));
    net.client(viewer).subscribe(SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) });
    net.run(Duration::from_millis(50));
    let (now, session) = (net.now, net.session(publisher));
    for id in 0..1_000 {
        let mut wire = Vec::new();
        object(id, DatagramBody::Payload { payload: payload(4, id, 20), end_of_group: false })
            .encode(Draft::D18, &mut wire);
        net.relays[0].datagram(now, session, &wire);
    }
    net.run(Duration::from_millis(50));
    let objects = received(&net, viewer);
    assert_eq!(objects.last().map(|object| object.object), Some(999), "the newest ones");
    assert_eq!(net.relays[0].counters().datagrams_dropped, 1_000 - objects.len() as u64);
    assert!((100..=256).contains(&objects.len()), "{}", objects.len());
    // One of no track is dropped, and harms nobody.
    let stray = ObjectDatagram { track_alias: 5, ..object(0, DatagramBody::Status(ObjectStatus::EndOfGroup)) };
    let before = net.relays[0].counters().datagrams_dropped;
    send(&mut net, publisher, &stray);
    assert_eq!(net.relays[0].counters().datagrams_dropped, before + 1);
    assert_eq!(net.record(publisher).closed(), None);
}
