//! A publisher session's tracks reach viewers through the relay, and every end of it is told right.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, namespace, payload, track};
use streams_relay_core::client::{ClientEvent, FetchAnswer, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::RelayConfig;
use streams_relay_core::wire::{
    EndLocation, FetchRange, FullTrackName, GroupOrder, Location, Properties, Property, PropertyValue, PublishDoneCode,
    RequestErrorCode, SubgroupHeader, SubgroupId,
};

const ALIAS: u64 = 77;

fn name() -> FullTrackName {
    track(namespace(&["moq", "test"]), "track")
}

fn publisher(net: &mut Net) -> (ClientId, RequestId) {
    let publisher = net.join(0, "/", Link::default());
    let announced = net.client(publisher).announce(namespace(&["moq", "test"]));
    net.run(Duration::from_millis(100));
    assert!(net.record(publisher).accepted(announced).is_some());
    (publisher, announced)
}

/// The relay's SUBSCRIBE requests that the publisher has got.
fn asked(net: &Net, publisher: ClientId) -> Vec<RequestId> {
    let asked = net.record(publisher).events.iter().filter_map(|event| match event {
        ClientEvent::SubscribeRequested { request, track, .. } if *track == name() => Some(*request),
        _ => None,
    });
    asked.collect()
}

fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: ALIAS,
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(128),
        properties: false,
        end_of_group: true,
        first_object: true,
    }
}

fn send_group(net: &mut Net, publisher: ClientId, request: RequestId, group: u64, objects: u64) {
    let client = net.client(publisher);
    client.open_subgroup(request, header(group));
    for object in 0..objects {
        client.send_object(ALIAS, group, 0, object, &[], &payload(group, object, 64));
    }
    client.end_subgroup(ALIAS, group, 0);
}

fn next_object() -> SubscribeRequest {
    SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name()) }
}

#[test]
fn three_groups_of_five_arrive_whole_and_the_stream_count_is_right() {
    let mut net = Net::open(sim::seed(2));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    for group in 0..3 {
        send_group(&mut net, publisher, upstream, group, 5);
    }
    net.client(publisher).publish_done(upstream, PublishDoneCode::TrackEnded, 3);
    net.run(Duration::from_secs(1));
    let record = net.record(viewer);
    record.check(request);
    let expected: Vec<(u64, u64)> = (0..15).map(|n| (n / 5, n % 5)).collect();
    assert_eq!(record.places(request), expected);
    assert_eq!(record.done(request), Some((PublishDoneCode::TrackEnded, Some(3), 3)));
}

#[test]
fn many_viewers_share_one_upstream_subscription() {
    let mut net = Net::open(sim::seed(3));
    let (publisher, _) = publisher(&mut net);
    let viewers: Vec<ClientId> = (0..5).map(|_| net.join(0, "/", Link::default())).collect();
    let requests: Vec<RequestId> = viewers.iter().map(|viewer| net.client(*viewer).subscribe(next_object())).collect();
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher);
    assert_eq!(upstream.len(), 1);
    net.client(publisher).accept_subscribe(upstream[0], ALIAS, None);
    net.run(Duration::from_millis(50));
    send_group(&mut net, publisher, upstream[0], 9, 4);
    net.run(Duration::from_millis(200));
    for (viewer, request) in viewers.iter().zip(&requests) {
        assert_eq!(net.record(*viewer).places(*request), [(9, 0), (9, 1), (9, 2), (9, 3)]);
        net.client(*viewer).cancel(*request);
    }
    // The upstream subscription outlives its viewers by the linger time only.
    net.run(Duration::from_secs(4));
    assert!(!net.saw(publisher, |event| matches!(event, ClientEvent::Cancelled(_))));
    net.run(Duration::from_secs(3));
    assert!(net.saw(publisher, |event| *event == ClientEvent::Cancelled(upstream[0])));
}

#[test]
fn a_track_that_nobody_has_does_not_exist() {
    let mut net = Net::open(sim::seed(4));
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    let status = net.client(viewer).track_status(name(), None);
    let fetch = net.client(viewer).fetch(FetchRequest {
        track: name(),
        start: Location::default(),
        end: EndLocation { group: 0, last_object: None },
        order: GroupOrder::Ascending,
        priority: 128,
        token: None,
    });
    net.run(Duration::from_millis(100));
    for request in [request, status, fetch] {
        assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::DoesNotExist));
    }
}

#[test]
fn a_refusal_of_the_publisher_reaches_the_viewer() {
    let mut net = Net::open(sim::seed(5));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).reject(upstream, RequestErrorCode::Uninterested, "not today");
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::Uninterested));
}

#[test]
fn a_publisher_that_never_answers_is_a_timeout() {
    let mut net = Net::open(sim::seed(6));
    let (_publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_secs(6));
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::Timeout));
}

#[test]
fn a_subscriber_may_come_before_its_publisher() {
    let mut net = Net::open(sim::seed(7));
    let viewer = net.join(0, "/", Link::default());
    let rendezvous = Duration::from_secs(5);
    let request = net.client(viewer).subscribe(SubscribeRequest { rendezvous, ..next_object() });
    let impatient = net.join(0, "/", Link::default());
    let short =
        net.client(impatient).subscribe(SubscribeRequest { rendezvous: Duration::from_millis(300), ..next_object() });
    net.run(Duration::from_secs(1));
    assert_eq!(net.record(impatient).refusal(short), Some(RequestErrorCode::Timeout));
    let (publisher, _) = publisher(&mut net);
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    send_group(&mut net, publisher, upstream, 1, 2);
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).places(request), [(1, 0), (1, 1)]);
}

#[test]
fn a_joining_fetch_waits_for_as_long_as_its_subscription() {
    let mut net = Net::open(sim::seed(20));
    let viewer = net.join(0, "/", Link::default());
    let patient = |rendezvous_s| SubscribeRequest {
        rendezvous: Duration::from_secs(rendezvous_s),
        ..SubscribeRequest::live(name())
    };
    let request = net.client(viewer).subscribe(patient(20));
    net.run(Duration::from_secs(8));
    let (publisher, _) = publisher(&mut net);
    let upstream = asked(&net, publisher)[0];
    // The publisher has objects already: the FETCH is for those.
    net.client(publisher).accept_subscribe(upstream, ALIAS, Some(Location::new(4, 2)));
    net.run(Duration::from_millis(200));
    let fetched = |event: &ClientEvent| matches!(event, ClientEvent::FetchRequested { .. });
    assert!(net.saw(publisher, fetched), "{:?}", net.record(viewer).events);
    assert_eq!(net.record(viewer).refusal(request), None);
}

#[test]
fn what_waits_in_all_fetches_of_a_viewer_is_bounded() {
    let config = RelayConfig { open: true, pulled_session_len_max: 500_000, ..RelayConfig::default() };
    let mut net = Net::new(sim::seed(22), Shards(1), config);
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link { rate: Some(200_000), ..Link::default() });
    let wanted = FetchRequest {
        track: name(),
        start: Location::new(1, 0),
        end: EndLocation::at(Location::new(1, 2)),
        order: GroupOrder::Ascending,
        priority: 128,
        token: None,
    };
    let fetches: Vec<RequestId> = (0..6).map(|_| net.client(viewer).fetch(wanted.clone())).collect();
    net.run(Duration::from_millis(200));
    let asked = net.record(publisher).events.iter().filter_map(|event| match event {
        ClientEvent::FetchRequested { request, .. } => Some(*request),
        _ => None,
    });
    let asked: Vec<RequestId> = asked.collect();
    let objects: Vec<FetchAnswer> = (0..3)
        .map(|object| FetchAnswer { location: Location::new(1, object), payload: payload(1, object, 100_000) })
        .collect();
    for request in asked {
        net.client(publisher).answer_fetch(request, EndLocation::at(Location::new(1, 2)), &objects);
    }
    net.run(Duration::from_secs(20));
    let ended = |complete| {
        let ended = |request| net.saw(viewer, |event| *event == ClientEvent::FetchEnd { request, complete });
        fetches.iter().filter(|request| ended(**request)).count()
    };
    assert!(ended(true) >= 1 && ended(false) >= 3, "{} whole, {} reset", ended(true), ended(false));
    // Nothing of them is counted any more.
    let fetch = net.client(viewer).fetch(wanted);
    net.run(Duration::from_millis(200));
    let again = net.record(publisher).events.iter().rev().find_map(|event| match event {
        ClientEvent::FetchRequested { request, .. } => Some(*request),
        _ => None,
    });
    net.client(publisher).answer_fetch(again.unwrap(), EndLocation::at(Location::new(1, 2)), &objects);
    net.run(Duration::from_secs(10));
    assert!(net.saw(viewer, |event| *event == ClientEvent::FetchEnd { request: fetch, complete: true }));
}

#[test]
fn a_published_track_resolves_waiting_subscribers_and_is_offered_to_watchers() {
    let mut net = Net::open(sim::seed(8));
    let waiting = net.join(0, "/", Link::default());
    let rendezvous = Duration::from_secs(5);
    let request = net.client(waiting).subscribe(SubscribeRequest { rendezvous, ..next_object() });
    let watcher = net.join(0, "/", Link::default());
    net.client(watcher).watch_tracks(namespace(&["moq"]), None);
    net.run(Duration::from_millis(100));
    let publisher = net.join(0, "/", Link::default());
    let published = net.client(publisher).publish(name(), ALIAS, None);
    send_group(&mut net, publisher, published, 4, 3);
    net.run(Duration::from_millis(300));
    assert!(net.record(publisher).accepted(published).is_some());
    assert_eq!(net.record(waiting).places(request), [(4, 0), (4, 1), (4, 2)]);
    let offered = net.record(watcher).events.iter().find_map(|event| match event {
        ClientEvent::TrackOffered { request, track, .. } if *track == name() => Some(*request),
        _ => None,
    });
    assert_eq!(net.record(watcher).places(offered.unwrap()), [(4, 0), (4, 1), (4, 2)]);
}

#[test]
fn namespaces_come_and_go_for_those_who_watch() {
    let mut net = Net::open(sim::seed(9));
    let watcher = net.join(0, "/", Link::default());
    let watch = net.client(watcher).watch_namespaces(namespace(&["moq"]), None);
    let overlapping = net.client(watcher).watch_namespaces(namespace(&["moq", "test"]), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(watcher).refusal(overlapping), Some(RequestErrorCode::PrefixOverlap));
    let (publisher, announced) = publisher(&mut net);
    assert!(net.saw(watcher, |event| *event == ClientEvent::NamespaceUp(watch, namespace(&["test"]))));
    net.client(publisher).cancel(announced);
    net.run(Duration::from_millis(100));
    assert!(net.saw(watcher, |event| *event == ClientEvent::NamespaceDown(watch, namespace(&["test"]))));
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::DoesNotExist));
}

#[test]
fn a_publisher_that_vanishes_ends_the_subscription_and_may_come_back() {
    let mut net = Net::open(sim::seed(10));
    let (first, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, first)[0];
    net.client(first).accept_subscribe(upstream, ALIAS, None);
    send_group(&mut net, first, upstream, 1, 2);
    net.client(first).open_subgroup(upstream, header(2));
    net.client(first).send_object(ALIAS, 2, 0, 0, &[], &payload(2, 0, 64));
    net.run(Duration::from_millis(100));
    net.vanish(first);
    net.run(Duration::from_secs(2));
    let record = net.record(viewer);
    record.check(request);
    assert_eq!(record.groups(request), [(1, true), (2, false)], "an open group is cut, never ended");
    assert_eq!(record.done(request), Some((PublishDoneCode::SubscriptionEnded, Some(2), 2)));

    let rendezvous = Duration::from_secs(5);
    let again = net.client(viewer).subscribe(SubscribeRequest { rendezvous, ..next_object() });
    let (second, _) = publisher(&mut net);
    let upstream = asked(&net, second)[0];
    net.client(second).accept_subscribe(upstream, ALIAS, Some(Location::new(2, 0)));
    send_group(&mut net, second, upstream, 3, 2);
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).places(again), [(3, 0), (3, 1)]);
}

#[test]
fn a_joining_fetch_beyond_the_cache_goes_to_the_publisher() {
    let mut net = Net::open(sim::seed(11));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(SubscribeRequest::live(name()));
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    // The publisher is in the middle of group 6 already.
    net.client(publisher).accept_subscribe(upstream, ALIAS, Some(Location::new(6, 2)));
    net.run(Duration::from_millis(100));
    let (fetch, range) = net
        .record(publisher)
        .events
        .iter()
        .find_map(|event| match event {
            ClientEvent::FetchRequested { request, range } => Some((*request, range.clone())),
            _ => None,
        })
        .unwrap();
    let end = EndLocation::at(Location::new(6, 2));
    assert_eq!(range, FetchRange::Standalone { track: name(), start: Location::new(6, 0), end });
    let objects: Vec<FetchAnswer> = (0..3)
        .map(|object| FetchAnswer { location: Location::new(6, object), payload: payload(6, object, 64) })
        .collect();
    net.client(publisher).answer_fetch(fetch, end, &objects);
    let mut open = header(6);
    open.first_object = false;
    net.client(publisher).open_subgroup(upstream, open);
    net.client(publisher).send_object(ALIAS, 6, 0, 3, &[], &payload(6, 3, 64));
    net.client(publisher).end_subgroup(ALIAS, 6, 0);
    net.run(Duration::from_millis(300));
    let record = net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), [(6, 0), (6, 1), (6, 2), (6, 3)]);

    // What the relay saw itself it serves itself.
    send_group(&mut net, publisher, upstream, 7, 3);
    net.run(Duration::from_millis(100));
    let late = net.join(0, "/", Link::default());
    let late_request = net.client(late).subscribe(SubscribeRequest::live(name()));
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(late).places(late_request), [(7, 0), (7, 1), (7, 2)]);
    let fetches =
        net.record(publisher).events.iter().filter(|event| matches!(event, ClientEvent::FetchRequested { .. }));
    assert_eq!(fetches.count(), 1);
}

#[test]
fn subgroups_priorities_and_properties_pass_unchanged() {
    let mut net = Net::open(sim::seed(12));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    let mut properties = Vec::new();
    Properties::new(vec![Property { kind: 0x10, value: PropertyValue::Number(90_000) }])
        .unwrap()
        .encode(&mut properties);
    let client = net.client(publisher);
    let low = SubgroupHeader { priority: Some(20), end_of_group: false, ..header(0) };
    let high = SubgroupHeader { subgroup: SubgroupId::Explicit(5), priority: Some(200), properties: true, ..header(0) };
    client.open_subgroup(upstream, low);
    client.open_subgroup(upstream, high);
    client.send_object(ALIAS, 0, 0, 0, &[], &payload(0, 0, 10));
    client.send_object(ALIAS, 0, 0, 2, &[], &payload(0, 2, 10));
    client.send_object(ALIAS, 0, 5, 1, &properties, &payload(0, 1, 10));
    client.send_object(ALIAS, 0, 5, 3, &[], &payload(0, 3, 10));
    client.end_subgroup(ALIAS, 0, 0);
    client.end_subgroup(ALIAS, 0, 5);
    net.run(Duration::from_millis(300));
    let mut seen: Vec<_> = net.record(viewer).objects(request);
    seen.sort_by_key(|object| object.object);
    let fields: Vec<_> = seen.iter().map(|o| (o.object, o.subgroup, o.priority, o.properties.to_vec())).collect();
    let none = Vec::new();
    assert_eq!(
        fields,
        [(0, 0, 20, none.clone()), (1, 5, 200, properties), (2, 0, 20, none.clone()), (3, 5, 200, none)]
    );
    assert!(net.peers[viewer.0].down.resets.is_empty(), "objects that follow each other upstream share one stream");
}

#[test]
fn one_session_subscribes_to_a_track_once() {
    let mut net = Net::open(sim::seed(13));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let first = net.client(viewer).subscribe(next_object());
    let second = net.client(viewer).subscribe(next_object());
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    net.run(Duration::from_millis(100));
    assert!(net.record(viewer).accepted(first).is_some());
    assert_eq!(net.record(viewer).refusal(second), Some(RequestErrorCode::DuplicateSubscription));
}

#[test]
fn a_viewer_can_hold_and_resume_a_subscription() {
    let mut net = Net::open(sim::seed(14));
    let (publisher, _) = publisher(&mut net);
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(SubscribeRequest { forward: false, ..next_object() });
    net.run(Duration::from_millis(100));
    let upstream = asked(&net, publisher)[0];
    net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    send_group(&mut net, publisher, upstream, 0, 2);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).places(request), []);
    let on = streams_relay_core::wire::Parameters { forward: Some(true), ..Default::default() };
    net.client(viewer).update(request, on);
    net.run(Duration::from_millis(100));
    send_group(&mut net, publisher, upstream, 1, 2);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).places(request), [(1, 0), (1, 1)]);
}
