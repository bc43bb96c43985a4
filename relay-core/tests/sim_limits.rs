//! Whatever somebody outside can grow has a limit, and what reaches it is counted or refused.

mod sim;

use std::time::Duration;

use sim::{Link, Net, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{Client, ClientConfig, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{Dir, RelayConfig, RelayEvent, RelayTuning, StreamId, TrackConfig};
use streams_relay_core::wire::{
    ControlMessage, Draft, EndLocation, GroupOrder, Location, ObjectStatus, Parameters, Properties, Property,
    PropertyValue, Publish, PublishDoneCode, RequestErrorCode, Setup, SubgroupHeader, SubgroupId, TrackStatus,
    encode_object_head,
};

const GOAWAY_TIMEOUT: u64 = 0x10;

fn open(config: RelayConfig) -> Net {
    Net::new(sim::seed(110), Shards(1), RelayConfig { open: true, ..config })
}

#[test]
fn sessions_beyond_the_limit_are_closed() {
    let mut net = open(RelayConfig { sessions_max: 2, ..RelayConfig::default() });
    let sessions: Vec<_> = (0..3).map(|_| net.join(0, "/", Link::default())).collect();
    net.run(Duration::from_millis(100));
    assert_eq!(net.relays[0].counters().sessions_refused, 1);
    assert!(net.record(sessions[2]).closed().is_some());
    assert!(net.record(sessions[0]).closed().is_none());
}

#[test]
fn tracks_beyond_the_limit_are_refused() {
    // A peer alone may have half of them.
    let mut net = open(RelayConfig { tracks_max: 4, ..RelayConfig::default() });
    let publisher = net.join(0, "/", Link::default());
    let requests: Vec<RequestId> =
        (0..3u64).map(|n| net.client(publisher).publish(track(namespace(&["t"]), &n.to_string()), n, None)).collect();
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(publisher).refusal(requests[2]), Some(RequestErrorCode::ExcessiveLoad));
    let viewer = net.join(0, "/", Link::default());
    let wanted = SubscribeRequest {
        rendezvous: Duration::from_secs(5),
        ..SubscribeRequest::live(track(namespace(&["t"]), "another"))
    };
    let request = net.client(viewer).subscribe(wanted);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::ExcessiveLoad));
    assert_eq!(net.relays[0].counters().tracks_refused, 2);
}

#[test]
fn offers_beyond_the_limit_of_a_namespace_are_refused() {
    let mut net = open(RelayConfig { offers_per_namespace_max: 3, ..RelayConfig::default() });
    let publisher = net.join(0, "/", Link::default());
    let mut publish = |space: &str, n: u64, alias| {
        let request = net.client(publisher).publish(track(namespace(&[space]), &n.to_string()), alias, None);
        net.run(Duration::from_millis(50));
        (request, net.record(publisher).refusal(request))
    };
    let requests: Vec<_> = (0..5).map(|n| publish("a", n, n)).collect();
    let refused = Some(RequestErrorCode::ExcessiveLoad);
    assert_eq!(requests.iter().map(|(_, code)| *code).collect::<Vec<_>>(), [None, None, None, refused, refused]);
    assert_eq!(publish("b", 0, 10).1, None);
    net.client(publisher).publish_done(requests[0].0, PublishDoneCode::TrackEnded, 0);
    net.run(Duration::from_millis(100));
    let again = net.client(publisher).publish(track(namespace(&["a"]), "9"), 11, None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(publisher).refusal(again), None);
}

#[test]
fn one_namespace_cannot_fill_the_table_with_tracks_that_nobody_publishes() {
    let mut net = open(RelayConfig { tracks_max: 80, ..RelayConfig::default() });
    let wanted = |space: &str, n: u64| SubscribeRequest {
        rendezvous: Duration::from_secs(20),
        ..SubscribeRequest::live(track(namespace(&[space]), &n.to_string()))
    };
    let greedy = net.join(0, "/", Link::default());
    let requests: Vec<RequestId> = (0..60).map(|n| net.client(greedy).subscribe(wanted("a", n))).collect();
    net.run(Duration::from_millis(100));
    let refused: Vec<_> = requests.iter().filter_map(|request| net.record(greedy).refusal(*request)).collect();
    assert_eq!(refused, [RequestErrorCode::ExcessiveLoad; 28]);
    let other = net.join(0, "/", Link::default());
    let request = net.client(other).subscribe(wanted("b", 0));
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(other).refusal(request), None);
}

/// The header of a subgroup stream, as a publisher opens it.
fn header(alias: u64, group: u64) -> Vec<u8> {
    let header = SubgroupHeader {
        track_alias: alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: true,
        first_object: true,
    };
    let mut bytes = Vec::new();
    header.encode(Draft::D18, &mut bytes);
    bytes
}

/// A subgroup stream with one object.
fn subgroup(alias: u64, group: u64) -> Vec<u8> {
    let mut bytes = header(alias, group);
    let object = payload(group, 0, 20);
    encode_object_head(Draft::D18, 0, None, object.len(), ObjectStatus::Normal, &mut bytes);
    bytes.extend_from_slice(&object);
    bytes
}

/// Ids of unidirectional streams that no client machine has opened.
fn uni(n: u64) -> u64 {
    (1_000 + n) << 2 | 2
}

#[test]
fn streams_of_unknown_tracks_are_kept_for_a_while_and_then_make_room() {
    let mut net = open(RelayConfig::default());
    let publisher = net.join(0, "/", Link::default());
    net.run(Duration::from_millis(100));
    // Streams that are reset leave nothing behind.
    for n in 0..200 {
        net.inject(publisher, uni(n), &subgroup(9, n), false);
        let (now, session) = (net.now, net.session(publisher));
        net.relays[0].stream_reset(now, session, StreamId(uni(n)), 0);
    }
    assert_eq!(net.relays[0].counters().streams_abandoned, 0);
    for n in 200..270 {
        net.inject(publisher, uni(n), &subgroup(9, n), n % 2 == 0);
    }
    assert_eq!(net.relays[0].counters().streams_abandoned, 6);
    net.run(Duration::from_secs(6));
    assert_eq!(net.relays[0].counters().streams_abandoned, 70);
    // There is room again for a stream that overtakes its track.
    net.inject(publisher, uni(300), &subgroup(7, 3), true);
    net.client(publisher).publish(track(namespace(&["t"]), "t"), 7, None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.relays[0].counters().objects_in, 1);
    assert_eq!(net.record(publisher).closed(), None);
}

/// The front of a subgroup stream whose first object will have `len` bytes, and one byte of it.
fn begun(alias: u64, group: u64, len: usize) -> Vec<u8> {
    let mut bytes = header(alias, group);
    encode_object_head(Draft::D18, 0, None, len, ObjectStatus::Normal, &mut bytes);
    bytes.push(b'x');
    bytes
}

#[test]
fn objects_that_never_become_whole_do_not_hold_memory_without_bound() {
    const LEN: usize = 1 << 20;
    let limits = RelayConfig {
        unfinished_session_len_max: 4 * LEN + LEN / 2,
        // A peer alone may have half of it.
        unfinished_len_max: 2 * (6 * LEN + LEN / 2),
        ..RelayConfig::default()
    };
    let mut net = open(limits);
    let publishers = [0, 1].map(|n| {
        let publisher = net.join(0, "/", Link::default());
        net.client(publisher).publish(track(namespace(&["t"]), &format!("t{n}")), 7, None);
        publisher
    });
    net.run(Duration::from_millis(100));
    // One session has room for four, both together for six.
    for (publisher, refused) in publishers.into_iter().zip([6, 6 + 8]) {
        for group in 0..10 {
            net.inject(publisher, uni(group), &begun(7, group, LEN), false);
        }
        assert_eq!(net.relays[0].counters().streams_abandoned, refused);
    }
    // What is given back may be used again, whole objects as well.
    let (now, session) = (net.now, net.session(publishers[0]));
    net.relays[0].session_closed(now, session);
    for group in 20..22 {
        net.inject(publishers[1], uni(group), &begun(7, group, LEN), false);
    }
    net.inject(publishers[1], uni(30), &subgroup(7, 30), true);
    assert_eq!(net.relays[0].counters().streams_abandoned, 14);
    assert_eq!(net.relays[0].counters().objects_in, 1);
}

#[test]
fn streams_of_a_track_that_is_over_are_stopped_at_once() {
    let mut net = open(RelayConfig::default());
    let publisher = net.join(0, "/", Link::default());
    let name = track(namespace(&["t"]), "t");
    let request = net.client(publisher).publish(name.clone(), 7, None);
    net.run(Duration::from_millis(100));
    net.client(publisher).publish_done(request, PublishDoneCode::TrackEnded, 0);
    net.run(Duration::from_millis(100));
    for n in 0..100 {
        net.inject(publisher, uni(n), &subgroup(7, n), false);
    }
    net.run(Duration::from_millis(100));
    assert_eq!(net.peers[publisher.0].up.stopped.len(), 100);
    assert_eq!(net.relays[0].counters().streams_abandoned, 0);
    // The alias may name another track later.
    net.client(publisher).publish(name, 7, None);
    net.run(Duration::from_millis(100));
    net.inject(publisher, uni(200), &subgroup(7, 200), true);
    assert_eq!(net.relays[0].counters().objects_in, 1);
}

#[test]
fn sessions_that_are_gone_leave_no_timers() {
    let mut net = open(RelayConfig::default());
    let viewers: Vec<_> = (0..10).map(|_| net.join(0, "/", Link::default())).collect();
    for viewer in &viewers {
        // Each one is due before all others so far.
        for rendezvous_s in [20, 15, 10] {
            let name = track(namespace(&["t"]), &format!("{rendezvous_s}"));
            let rendezvous = Duration::from_secs(rendezvous_s);
            net.client(*viewer).subscribe(SubscribeRequest { rendezvous, ..SubscribeRequest::live(name) });
            net.run(Duration::from_millis(50));
        }
    }
    assert!(net.relays[0].next_timeout().is_some());
    viewers.into_iter().for_each(|viewer| net.vanish(viewer));
    assert_eq!(net.relays[0].next_timeout(), None);
}

#[test]
fn a_client_forgets_streams_that_have_ended() {
    let mut client = Client::new(ClientConfig::default());
    let now = std::time::Instant::now();
    for n in 0..200 {
        client.stream_data(now, StreamId(n << 2 | 3), Dir::Uni, &subgroup(9, n), true);
    }
    assert_eq!(client.streams_open(), 64, "those that wait for their track");
}

#[test]
fn requests_that_the_peer_leaves_half_open_are_stopped_before_they_use_up_its_streams() {
    let mut net = open(RelayConfig::default());
    // Nothing that the relay says arrives within this test: the peer is what is injected here.
    let peer = net.join(0, "/", Link { latency: Duration::from_secs(3_600), ..Link::default() });
    let mut setup = Vec::new();
    ControlMessage::Setup(Setup::default()).encode(Draft::D18, &mut setup).unwrap();
    net.inject(peer, 2, &setup, false);
    for n in 0..100u64 {
        let status =
            TrackStatus { request_id: 2 * n, track: track(namespace(&["t"]), "t"), parameters: Parameters::default() };
        let mut bytes = Vec::new();
        ControlMessage::TrackStatus(status).encode(Draft::D18, &mut bytes).unwrap();
        net.inject(peer, n << 2, &bytes, false);
        net.run(Duration::from_millis(5));
    }
    let down = &net.peers[peer.0].down;
    assert_eq!(down.closed, None);
    assert!(100 - down.stops.len() <= 64, "{} streams were stopped", down.stops.len());
}

#[test]
fn namespaces_beyond_the_limit_are_refused() {
    let mut net =
        open(RelayConfig { namespaces_per_session_max: 2, namespaces_shown_max: 1, ..RelayConfig::default() });
    let publisher = net.join(0, "/", Link::default());
    let announced: Vec<RequestId> =
        (0..3).map(|n| net.client(publisher).announce(namespace(&["a", &n.to_string()]))).collect();
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(publisher).refusal(announced[2]), Some(RequestErrorCode::ExcessiveLoad));
    let watcher = net.join(0, "/", Link::default());
    let watches: Vec<RequestId> =
        ["a", "b", "c"].iter().map(|field| net.client(watcher).watch_namespaces(namespace(&[field]), None)).collect();
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(watcher).refusal(watches[0]), Some(RequestErrorCode::NamespaceTooLarge));
    let others: Vec<_> = watches[1..].iter().map(|watch| net.record(watcher).refusal(*watch)).collect();
    assert_eq!(others, [None, None]);
}

#[test]
fn the_cache_stays_within_its_bounds_over_all_tracks() {
    let config = RelayConfig { cache_len_max: 300_000, cache_track_len_max: 200_000, ..RelayConfig::default() };
    let mut net = open(config);
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let tracks: Vec<_> =
        (0..5).map(|n| net.relays[0].track_open(net.now, track(live(), &format!("t{n}")), config)).collect();
    for group in 0..50 {
        for track in &tracks {
            sim::net::group(&mut net, 0, *track, group, 5, 2_000);
        }
        assert!(net.relays[0].cache_len() <= 300_000, "{}", net.relays[0].cache_len());
    }
    // A group that never ends loses its oldest objects in the end.
    for object in 0..1_000 {
        net.relays[0].object(net.now, tracks[0], 100, object, payload(100, object, 2_000), false);
    }
    assert!(net.relays[0].cache_len() <= 1_000_000, "{}", net.relays[0].cache_len());
    net.run(Duration::from_secs(60));
    assert!(net.relays[0].cache_len() <= 700_000, "old groups go although nothing new comes");
}

#[test]
fn bounds_that_are_tuned_hold_from_then_on() {
    let mut net = open(RelayConfig::default());
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let track = net.relays[0].track_open(net.now, track(live(), "t"), config);
    (0..50).for_each(|group| sim::net::group(&mut net, 0, track, group, 5, 2_000));
    assert!(net.relays[0].cache_len() >= 400_000, "{}", net.relays[0].cache_len());
    let sessions: Vec<_> = (0..2).map(|_| net.join(0, "/", Link::default())).collect();
    net.run(Duration::from_millis(100));
    let delivery_timeout = Duration::from_millis(700);
    net.relays[0].tune(RelayTuning { sessions_max: 2, cache_len_max: 300_000, delivery_timeout });
    assert!(net.relays[0].cache_len() <= 300_000, "at once: {}", net.relays[0].cache_len());
    assert_eq!(net.relays[0].config().delivery_timeout, delivery_timeout);
    let late = net.join(0, "/", Link::default());
    net.run(Duration::from_millis(100));
    assert!(net.record(late).closed().is_some(), "a third session is one too many");
    assert!(sessions.iter().all(|session| net.record(*session).closed().is_none()), "open ones stay");
}

#[test]
fn a_full_cache_makes_room_for_many_objects_at_once() {
    let mut net = open(RelayConfig { cache_len_max: 300_000, ..RelayConfig::default() });
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let tracks: Vec<_> =
        (0..5).map(|n| net.relays[0].track_open(net.now, track(live(), &format!("t{n}")), config)).collect();
    let mut rounds = 0;
    for group in 0..120 {
        for track in &tracks {
            let before = net.relays[0].counters().groups_evicted;
            sim::net::group(&mut net, 0, *track, group, 1, 1_000);
            rounds += u64::from(net.relays[0].counters().groups_evicted > before);
        }
    }
    // With what the cache needs for itself a group is 1.3 kB: some 370 of the 600 had to go, a dozen at a time.
    assert!((22..=34).contains(&rounds), "groups were dropped {rounds} times");
}

#[test]
fn a_session_may_make_any_number_of_requests_one_after_the_other() {
    let mut net = open(RelayConfig { requests_max: 4, ..RelayConfig::default() });
    net.namespace_up(0, namespace(&["a"]));
    let config = TrackConfig { publisher_priority: 1, pinned: true };
    let name = track(namespace(&["a"]), "t");
    let source = net.relays[0].track_open(net.now, name.clone(), config);
    net.relays[0].object(net.now, source, 3, 0, payload(3, 0, 10), true);
    let viewer = net.join(0, "/", Link::default());
    for _ in 0..300 {
        let client = net.client(viewer);
        let status = client.track_status(name.clone(), None);
        let subscribed =
            client.subscribe(SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name.clone()) });
        let fetch = client.fetch(FetchRequest {
            track: name.clone(),
            start: Location::new(3, 0),
            end: EndLocation { group: 3, last_object: None },
            order: GroupOrder::Descending,
            priority: 1,
            token: None,
        });
        net.run(Duration::from_millis(60));
        assert!(net.record(viewer).accepted(status).is_some());
        assert_eq!(net.record(viewer).places(fetch), [(3, 0)]);
        net.client(viewer).cancel(subscribed);
        net.run(Duration::from_millis(60));
    }
    assert_eq!(net.client(viewer).requests_open(), 0);
    assert_eq!(net.relays[0].counters().requests_refused, 0);
    assert_eq!(net.record(viewer).closed(), None);
}

#[test]
fn a_drain_asks_sessions_to_leave_and_closes_those_that_stay() {
    let mut net = Net::new(sim::seed(111), Shards(1), RelayConfig::default());
    net.namespace_up(0, live());
    let config = TrackConfig { publisher_priority: 1, pinned: true };
    net.relays[0].track_open(net.now, track(live(), ".catalog"), config);
    let viewer = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let request = net.client(viewer).subscribe(SubscribeRequest::live(track(live(), ".catalog")));
    net.run(Duration::from_millis(100));
    assert!(net.record(viewer).accepted(request).is_some());
    net.relays[0].drain(net.now, Duration::from_secs(5));
    net.run(Duration::from_millis(100));
    let told = |event: &_| matches!(event, streams_relay_core::client::ClientEvent::GoingAway { timeout_ms: 5_000 });
    assert!(net.saw(viewer, told));
    let late = net.client(viewer).track_status(track(live(), ".catalog"), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(late), Some(RequestErrorCode::GoingAway));
    net.run(Duration::from_secs(5));
    assert_eq!(net.record(viewer).closed().unwrap().0, GOAWAY_TIMEOUT);
    assert!(net.log.iter().any(|(_, event)| matches!(event, RelayEvent::SessionClose { code: GOAWAY_TIMEOUT, .. })));
}

#[test]
fn datagrams_of_no_track_are_dropped_and_counted() {
    let mut net = open(RelayConfig::default());
    let peer = net.join(0, "/", Link::default());
    net.run(Duration::from_millis(100));
    let (now, session) = (net.now, net.session(peer));
    // Alias 1, group 2, object 0, default priority.
    net.relays[0].datagram(now, session, &[0x0C, 1, 2, b'x']);
    assert_eq!(net.relays[0].counters().datagrams_dropped, 1);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(peer).closed(), None);
    let now = net.now;
    net.relays[0].datagram(now, session, &[0x7F]);
    net.run(Duration::from_millis(100));
    assert!(net.record(peer).closed().is_some());
}

#[test]
fn track_properties_beyond_the_limit_are_refused() {
    let mut net = open(RelayConfig::default());
    let publisher = net.join(0, "/", Link::default());
    net.run(Duration::from_millis(100));
    let value = PropertyValue::Bytes(vec![0; 20_000].into());
    let message = Publish {
        request_id: 0,
        track: track(namespace(&["a"]), "t"),
        track_alias: 1,
        parameters: Parameters::default(),
        properties: Properties::new(vec![Property { kind: 0x0B, value }]).unwrap(),
    };
    let mut bytes = Vec::new();
    ControlMessage::Publish(message).encode(Draft::D18, &mut bytes).unwrap();
    net.inject(publisher, 0, &bytes, false);
    net.run(Duration::from_millis(100));
    let viewer = net.join(0, "/", Link::default());
    let status = net.client(viewer).track_status(track(namespace(&["a"]), "t"), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).refusal(status), Some(RequestErrorCode::DoesNotExist));
}
