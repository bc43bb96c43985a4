//! The viewer for whom the relay asks a publisher sees what the publisher sends from its answer on, and can fetch what came
//! before, on whatever shard and transport it is.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, namespace, payload, track};
use streams_relay_core::client::{ClientConfig, ClientEvent, FetchAnswer, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, Transport};
use streams_relay_core::wire::{EndLocation, FullTrackName, Location, RequestErrorCode, SubgroupHeader, SubgroupId};

const ALIAS: u64 = 77;
const HOME: usize = 0;

fn name() -> FullTrackName {
    track(namespace(&["moq", "test"]), ".catalog")
}

fn world(seed: u64) -> (Net, ClientId) {
    let mut net = Net::new(sim::seed(seed), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
    let publisher = net.join(HOME, "/", Link::default());
    net.client(publisher).announce(namespace(&["moq", "test"]));
    net.run(Duration::from_millis(100));
    (net, publisher)
}

fn viewer(net: &mut Net, shard: usize, transport: Transport, join: Join) -> (ClientId, RequestId) {
    let config = ClientConfig { path: "/".to_owned(), transport, ..ClientConfig::default() };
    let viewer = net.join_with(shard, Link::default(), config);
    let request = net.client(viewer).subscribe(SubscribeRequest { join, ..SubscribeRequest::live(name()) });
    (viewer, request)
}

/// The relay's newest SUBSCRIBE that the publisher has got.
fn asked(net: &Net, publisher: ClientId) -> Option<RequestId> {
    net.record(publisher).events.iter().rev().find_map(|event| match event {
        ClientEvent::SubscribeRequested { request, .. } => Some(*request),
        _ => None,
    })
}

fn send_group(net: &mut Net, publisher: ClientId, request: RequestId, group: u64, objects: u64) {
    let header = SubgroupHeader {
        track_alias: ALIAS,
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(128),
        properties: false,
        end_of_group: true,
        first_object: true,
    };
    let client = net.client(publisher);
    client.open_subgroup(request, header);
    for object in 0..objects {
        client.send_object(ALIAS, group, 0, object, &[], &payload(group, object, 64));
    }
    client.end_subgroup(ALIAS, group, 0);
}

#[test]
fn the_first_object_after_the_answer_reaches_the_viewer_that_caused_the_question() {
    for shard in 0..2 {
        for transport in [Transport::Quic, Transport::WebTransport] {
            for join in [Join::NextObject, Join::GroupsBack(0)] {
                for largest in [None, Some(Location::new(3, 4))] {
                    let (mut net, publisher) = world(320);
                    // The link to the other shard is slower than the publisher is with its first group.
                    net.replay_latency = Duration::from_millis(30);
                    let (viewer, request) = viewer(&mut net, shard, transport, join);
                    net.run(Duration::from_millis(100));
                    let upstream = asked(&net, publisher).unwrap();
                    net.client(publisher).accept_subscribe(upstream, ALIAS, largest);
                    let group = largest.map_or(0, |largest| largest.group + 1);
                    send_group(&mut net, publisher, upstream, group, 3);
                    net.run(Duration::from_secs(3));
                    let record = net.record(viewer);
                    record.check(request);
                    let context = format!("shard {shard}, {transport:?}, {join:?}, {largest:?}");
                    assert_eq!(record.places(request), [(group, 0), (group, 1), (group, 2)], "{context}");
                    assert_eq!(record.accepted(request), Some(largest), "{context}");
                }
            }
        }
    }
}

/// Answers every FETCH of the relay that the publisher has not answered: its track is one object in group 0.
fn answer_fetches(net: &mut Net, publisher: ClientId, answered: &mut Vec<RequestId>) {
    let asked: Vec<RequestId> = net
        .record(publisher)
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::FetchRequested { request, .. } if !answered.contains(request) => Some(*request),
            _ => None,
        })
        .collect();
    for request in asked {
        let objects = [FetchAnswer { location: Location::new(0, 0), payload: payload(0, 0, 90_000) }];
        net.client(publisher).answer_fetch(request, EndLocation::at(Location::new(0, 0)), &objects);
        answered.push(request);
    }
}

#[test]
fn a_viewer_on_any_shard_gets_from_the_publisher_what_no_cache_has_any_more() {
    let (mut net, publisher) = world(321);
    let (first, first_request) = viewer(&mut net, 1, Transport::Quic, Join::NextObject);
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher).unwrap();
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    send_group(&mut net, publisher, upstream, 0, 1);
    net.run(Duration::from_millis(200));
    net.client(first).cancel(first_request);
    // Both shards have let go of the track by then.
    net.run(Duration::from_secs(13));
    let viewers: Vec<_> =
        [1, 0, 1, 1].into_iter().map(|shard| viewer(&mut net, shard, Transport::Quic, Join::GroupsBack(0))).collect();
    net.run(Duration::from_millis(50));
    let again = asked(&net, publisher).unwrap();
    assert_ne!(again, upstream);
    net.client(publisher).accept_subscribe(again, ALIAS + 1, Some(Location::new(0, 0)));
    let mut answered = Vec::new();
    for _ in 0..50 {
        net.run(Duration::from_millis(10));
        answer_fetches(&mut net, publisher, &mut answered);
    }
    for (index, (viewer, request)) in viewers.into_iter().enumerate() {
        let record = net.record(viewer);
        assert_eq!(record.places(request), [(0, 0)], "viewer {index}: {:?}", record.events);
    }
}

#[test]
fn a_fetch_that_the_publisher_refuses_or_never_answers_is_refused_on_another_shard_too() {
    let fetch = |net: &mut Net, shard| {
        let (viewer, _) = viewer(net, shard, Transport::Quic, Join::NextObject);
        let request = net.client(viewer).fetch(streams_relay_core::client::FetchRequest {
            track: name(),
            start: Location::new(0, 0),
            end: EndLocation::at(Location::new(0, 0)),
            order: streams_relay_core::wire::GroupOrder::Ascending,
            priority: 128,
            token: None,
        });
        (viewer, request)
    };
    for answers in [true, false] {
        let (mut net, publisher) = world(322);
        let (viewer, request) = fetch(&mut net, 1);
        net.run(Duration::from_millis(100));
        let upstream = asked(&net, publisher).unwrap();
        net.client(publisher).accept_subscribe(upstream, ALIAS, Some(Location::new(0, 0)));
        net.run(Duration::from_millis(100));
        let pulled = net.record(publisher).events.iter().find_map(|event| match event {
            ClientEvent::FetchRequested { request, .. } => Some(*request),
            _ => None,
        });
        if answers {
            net.client(publisher).reject(pulled.unwrap(), RequestErrorCode::NotSupported, "no history");
        }
        net.run(Duration::from_secs(12));
        let code = if answers { RequestErrorCode::NotSupported } else { RequestErrorCode::Timeout };
        assert_eq!(net.record(viewer).refusal(request), Some(code));
        assert_eq!(net.record(viewer).accepted(request), None, "no FETCH_OK before");
        assert_eq!(net.record(viewer).closed(), None);
    }
}

#[test]
fn a_viewer_that_leaves_ends_the_fetch_on_the_other_shard_and_at_the_publisher() {
    let (mut net, publisher) = world(323);
    let (viewer, _) = viewer(&mut net, 1, Transport::Quic, Join::GroupsBack(0));
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher).unwrap();
    net.client(publisher).accept_subscribe(upstream, ALIAS, Some(Location::new(0, 0)));
    net.run(Duration::from_millis(100));
    let pulled = net.record(publisher).events.iter().find_map(|event| match event {
        ClientEvent::FetchRequested { request, .. } => Some(*request),
        _ => None,
    });
    net.vanish(viewer);
    net.run(Duration::from_millis(100));
    assert!(net.saw(publisher, |event| *event == ClientEvent::Cancelled(pulled.unwrap())));
}
