//! Whatever somebody outside can grow has a limit, and what reaches it is counted or refused.

mod sim;

use std::time::Duration;

use sim::{Link, Net, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, RelayEvent, TrackConfig};
use streams_relay_core::wire::{
    ControlMessage, Draft, EndLocation, GroupOrder, Location, Parameters, Properties, Property, PropertyValue, Publish,
    RequestErrorCode,
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
    let mut net = open(RelayConfig { tracks_max: 2, ..RelayConfig::default() });
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
    assert_eq!(net.record(viewer).refusal(request), Some(RequestErrorCode::DoesNotExist));
    assert_eq!(net.relays[0].counters().tracks_refused, 2);
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
fn datagrams_are_dropped_and_counted() {
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
