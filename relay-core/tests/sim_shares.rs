//! What all sessions share: nobody can take it from the others.

mod sim;

use std::net::SocketAddr;
use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, claims, namespace, payload, signed, token, track};
use streams_relay_core::client::{FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{Namespace, RelayConfig, TrackConfig};
use streams_relay_core::wire::{
    Draft, EndLocation, GroupOrder, Location, ObjectStatus, RequestErrorCode, SubgroupHeader, SubgroupId,
    encode_object_head,
};

const ALIAS: u64 = 77;

fn world(config: RelayConfig) -> Net {
    Net::new(sim::seed(40), Shards(1), config)
}

fn input(org: &str, id: &str) -> Namespace {
    namespace(&["stream", org, id])
}

fn header(alias: u64, group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(128),
        properties: false,
        end_of_group: true,
        first_object: true,
    }
}

fn publisher(net: &mut Net, id: &str) -> ClientId {
    let key = id.replace("lv_", "key_");
    net.join(0, &format!("/publish/{id}?sk={key}"), Link::default())
}

/// Another input publishes a track, and a viewer of it gets an object. `org` is where it belongs.
fn others_go_on(net: &mut Net, org: &str, id: &str) {
    let publisher = publisher(net, id);
    let name = track(input(org, id), "video/360p");
    net.run(Duration::from_millis(50));
    let offered = net.client(publisher).publish(name.clone(), ALIAS, None);
    let mut claims = claims(id, 600);
    claims["iss"] = org.into();
    let kid = if org == "org_a" { "ed" } else { "other_org" };
    let viewer = net.join(0, &format!("/playback/{id}?tok={}", signed(kid, &claims)), Link::default());
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(publisher).closed(), None);
    assert_eq!(net.record(publisher).refusal(offered), None, "{id} may publish");
    let wanted = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) };
    let watching = net.client(viewer).subscribe(wanted);
    net.run(Duration::from_millis(100));
    net.client(publisher).open_subgroup(offered, header(ALIAS, 1));
    net.client(publisher).send_object(ALIAS, 1, 0, 0, &[], &payload(1, 0, 50));
    net.client(publisher).end_subgroup(ALIAS, 1, 0);
    net.run(Duration::from_millis(100));
    assert_eq!(net.record(viewer).places(watching), [(1, 0)], "{id} plays");
}

#[test]
fn one_stream_key_cannot_fill_the_table_of_tracks_for_others() {
    let mut net = world(RelayConfig::default());
    let sessions: Vec<ClientId> = (0..33).map(|_| publisher(&mut net, "lv_1")).collect();
    net.run(Duration::from_millis(200));
    let open: Vec<ClientId> =
        sessions.iter().copied().filter(|session| net.record(*session).closed().is_none()).collect();
    assert_eq!(open.len(), 16);
    let (_, reason) = net.record(sessions[32]).closed().expect("one of many too many");
    assert_eq!(reason, "16 sessions publish this input here already, which is the most: close one of them");
    assert_eq!(net.relays[0].counters().sessions_refused, 17);
    // Each publishes into a namespace of its own below that of the input.
    let mut requests: Vec<(ClientId, RequestId)> = Vec::new();
    for (n, session) in open.iter().enumerate() {
        let below = namespace(&["stream", "org_a", "lv_1", &n.to_string()]);
        for t in 0..100u64 {
            requests.push((*session, net.client(*session).publish(track(below.clone(), &t.to_string()), t, None)));
        }
    }
    net.run(Duration::from_millis(200));
    let refused = requests
        .iter()
        .filter(|(session, request)| net.record(*session).refusal(*request) == Some(RequestErrorCode::ExcessiveLoad));
    assert_eq!(refused.count(), 1_600 - 64);
    assert_eq!(net.relays[0].counters().tracks_refused, 1_600 - 64);
    others_go_on(&mut net, "org_a", "lv_2");
    others_go_on(&mut net, "org_b", "lv_b");
}

#[test]
fn a_publisher_and_its_viewers_cannot_fill_the_table_of_tracks_for_others() {
    let mut net = world(RelayConfig::default());
    // It publishes the namespace, so that each track may be there, and answers nothing.
    let publisher = publisher(&mut net, "lv_1");
    net.client(publisher).announce(input("org_a", "lv_1"));
    net.run(Duration::from_millis(50));
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let viewers: Vec<ClientId> = (0..36).map(|_| net.join(0, &path, Link::default())).collect();
    for (n, viewer) in viewers.iter().enumerate() {
        for t in 0..240 {
            let name = track(input("org_a", "lv_1"), &format!("{n}/{t}"));
            net.client(*viewer).subscribe(SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) });
        }
    }
    net.run(Duration::from_millis(200));
    assert_eq!(net.relays[0].counters().tracks_refused, 36 * 240 - 64);
    others_go_on(&mut net, "org_a", "lv_2");
    others_go_on(&mut net, "org_b", "lv_b");
}

#[test]
fn announced_namespaces_have_shares() {
    let mut net = world(RelayConfig { namespaces_max: 90, ..RelayConfig::default() });
    let greedy = publisher(&mut net, "lv_1");
    let below = |n: u64| namespace(&["stream", "org_a", "lv_1", &n.to_string()]);
    let requests: Vec<RequestId> = (0..40).map(|n| net.client(greedy).announce(below(n))).collect();
    net.run(Duration::from_millis(100));
    let refused = requests.iter().filter(|request| net.record(greedy).refusal(**request).is_some()).count();
    assert_eq!((refused, net.relays[0].counters().namespaces_refused), (10, 10));
    let other = publisher(&mut net, "lv_b");
    let announced = net.client(other).announce(input("org_b", "lv_b"));
    net.run(Duration::from_millis(100));
    assert!(net.record(other).accepted(announced).is_some());
    // What is withdrawn may be used again.
    requests[..2].iter().for_each(|request| net.client(greedy).cancel(*request));
    net.run(Duration::from_millis(100));
    let again = net.client(greedy).announce(below(100));
    net.run(Duration::from_millis(100));
    assert!(net.record(greedy).accepted(again).is_some());
}

#[test]
fn peers_of_an_open_relay_have_shares_of_the_table() {
    let mut net = world(RelayConfig { open: true, tracks_max: 90, ..RelayConfig::default() });
    let mut offer = |peer: [u8; 4], names: std::ops::Range<u64>| {
        net.peer = SocketAddr::from((peer, 4_000));
        let client = net.join(0, "/", Link::default());
        let requests: Vec<RequestId> = names
            .map(|n| net.client(client).publish(track(namespace(&[&format!("{peer:?}")]), &n.to_string()), n, None))
            .collect();
        net.run(Duration::from_millis(100));
        requests.iter().filter(|request| net.record(client).refusal(**request).is_none()).count()
    };
    assert_eq!([offer([10, 0, 0, 1], 0..60), offer([10, 0, 0, 2], 0..60), offer([10, 0, 0, 3], 0..60)], [45, 22, 11]);
    assert_eq!(offer([10, 0, 0, 1], 60..61), 0, "another session of the same peer");
}

/// The front of a subgroup stream whose first object will have `len` bytes, and one byte of it.
fn begun(group: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    header(ALIAS, group).encode(Draft::D18, &mut bytes);
    encode_object_head(Draft::D18, 0, None, len, ObjectStatus::Normal, &mut bytes);
    bytes.push(b'x');
    bytes
}

#[test]
fn objects_that_never_become_whole_take_no_memory_from_other_inputs() {
    const LEN: usize = 1 << 20;
    let mut net = world(RelayConfig { unfinished_len_max: 18 * LEN, ..RelayConfig::default() });
    let greedy: Vec<ClientId> = (0..4).map(|_| publisher(&mut net, "lv_1")).collect();
    for (n, session) in greedy.iter().enumerate() {
        net.client(*session).publish(track(input("org_a", "lv_1"), &n.to_string()), ALIAS, None);
    }
    net.run(Duration::from_millis(100));
    for session in &greedy {
        (0..10).for_each(|group| net.inject(*session, (1_000 + group) << 2 | 2, &begun(group, LEN - 4_096), false));
    }
    // Of forty that were begun a third of what all may have.
    assert_eq!(net.relays[0].counters().streams_abandoned, 40 - 6);
    others_go_on(&mut net, "org_a", "lv_2");
    let other = publisher(&mut net, "lv_b");
    net.client(other).publish(track(input("org_b", "lv_b"), "big"), ALIAS, None);
    net.run(Duration::from_millis(100));
    (0..2).for_each(|group| net.inject(other, (1_000 + group) << 2 | 2, &begun(group, LEN - 4_096), false));
    assert_eq!(net.relays[0].counters().streams_abandoned, 40 - 6);
}

#[test]
fn an_input_with_many_tracks_does_not_push_those_of_others_out_of_the_cache() {
    let mut net = world(RelayConfig { cache_len_max: 400_000, ..RelayConfig::default() });
    let config = TrackConfig { publisher_priority: 1, pinned: false };
    let small = net.relays[0].track_open(net.now, track(input("org_b", "lv_b"), "video"), config);
    (0..20).for_each(|group| sim::net::group(&mut net, 0, small, group, 1, 5_000));
    // Each of its tracks is smaller than the one of the other, together they are much larger.
    let tracks: Vec<_> = (0..50)
        .map(|n| net.relays[0].track_open(net.now, track(input("org_a", "lv_1"), &n.to_string()), config))
        .collect();
    for group in 0..30 {
        tracks.iter().for_each(|track| sim::net::group(&mut net, 0, *track, group, 1, 2_000));
    }
    assert!(net.relays[0].cache_len() <= 400_000);
    let mut claims = claims("lv_b", 600);
    claims["iss"] = "org_b".into();
    let viewer = net.join(0, &format!("/playback/lv_b?tok={}", signed("other_org", &claims)), Link::default());
    let fetch = net.client(viewer).fetch(FetchRequest {
        track: track(input("org_b", "lv_b"), "video"),
        start: Location::new(0, 0),
        end: EndLocation { group: 19, last_object: None },
        order: GroupOrder::Ascending,
        priority: 1,
        token: None,
    });
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(viewer).places(fetch), (0..20).map(|group| (group, 0)).collect::<Vec<_>>());
}
