//! What the relay counts is what its viewers saw.

mod sim;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{ClientEvent, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{Counters, RelayConfig, TrackConfig, TrackId};
use streams_relay_core::wire::{EndLocation, GroupOrder, Location, SubgroupHeader, SubgroupId};

/// Objects a group, one every 50 ms: groups of one second.
const GROUP_LEN: u64 = 20;

struct Broadcast {
    net: Net,
    video: TrackId,
    object_len: usize,
    sent: u64,
}

impl Broadcast {
    fn new(seed: u64, shards: usize, object_len: usize, config: RelayConfig) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(shards), config);
        net.namespace_up(0, live());
        let config = TrackConfig { publisher_priority: 100, pinned: false };
        let video = net.relays[0].track_open(net.now, track(live(), "video/720p"), config);
        Self { net, video, object_len, sent: 0 }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * GROUP_LEN {
            let (group, object) = (100 + self.sent / GROUP_LEN, self.sent % GROUP_LEN);
            let bytes = payload(group, object, self.object_len);
            self.net.relays[0].object(self.net.now, self.video, group, object, bytes, object + 1 == GROUP_LEN);
            self.sent += 1;
            self.net.run(Duration::from_millis(50));
        }
    }

    fn viewer(&mut self, shard: usize, link: Link) -> (ClientId, RequestId) {
        let viewer = self.net.join(shard, &format!("/playback/lv_1?tok={}", token("lv_1", 3600)), link);
        let request = self.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "video/720p")));
        (viewer, request)
    }

    fn counters(&self, shard: usize) -> Counters {
        *self.net.relays[shard].counters()
    }
}

/// Objects and payload bytes that clients got.
fn seen(net: &Net, clients: &[ClientId]) -> (u64, u64) {
    let events = clients.iter().flat_map(|client| &net.record(*client).events);
    let objects = events.filter_map(|event| match event {
        ClientEvent::Object(_, object) => Some(object.payload.len() as u64),
        _ => None,
    });
    objects.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len))
}

#[test]
fn objects_in_count_at_home_and_objects_out_where_the_viewer_is() {
    let mut broadcast = Broadcast::new(50, 2, 700, RelayConfig::default());
    broadcast.run(2);
    let home = [broadcast.viewer(0, Link::default()).0, broadcast.viewer(0, Link::default()).0];
    let (away, away_request) = broadcast.viewer(1, Link::default());
    broadcast.run(3);
    // Half a group, fetched: objects of a FETCH count like those of a subscription.
    let fetch = FetchRequest {
        track: track(live(), "video/720p"),
        start: Location::new(102, 5),
        end: EndLocation { group: 102, last_object: Some(14) },
        order: GroupOrder::Ascending,
        priority: 128,
        token: None,
    };
    let fetch = broadcast.net.client(home[0]).fetch(fetch);
    broadcast.net.run(Duration::from_secs(1));
    assert_eq!(broadcast.net.record(home[0]).objects(fetch).len(), 10);

    let (at_home, at_away) = (broadcast.counters(0), broadcast.counters(1));
    let published = 5 * GROUP_LEN;
    assert_eq!((at_home.objects_in, at_home.object_bytes_in), (published, published * 700));
    assert_eq!((at_away.objects_in, at_away.object_bytes_in), (0, 0), "replicated objects came in elsewhere");
    assert_eq!((at_home.objects_out, at_home.object_bytes_out), seen(&broadcast.net, &home));
    assert_eq!((at_away.objects_out, at_away.object_bytes_out), seen(&broadcast.net, &[away]));
    // Whoever comes in the third group gets it from its start.
    assert_eq!((at_home.objects_out, at_away.objects_out), (2 * 3 * GROUP_LEN + 10, 3 * GROUP_LEN));
    assert_eq!(at_home.groups_dropped + at_away.groups_dropped, 0);

    let open = |net: &Net| [net.relays[0].subscriptions_open(), net.relays[1].subscriptions_open()];
    assert_eq!(open(&broadcast.net), [2, 1]);
    broadcast.net.client(away).cancel(away_request);
    broadcast.net.vanish(home[1]);
    broadcast.net.run(Duration::from_millis(100));
    assert_eq!(open(&broadcast.net), [1, 0]);
}

#[test]
fn a_publishers_objects_come_in_at_its_own_shard_only() {
    let mut net = Net::new(sim::seed(51), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
    let name = track(namespace(&["test"]), "t");
    let publisher = net.join(0, "/", Link::default());
    net.client(publisher).announce(namespace(&["test"]));
    net.run(Duration::from_millis(100));
    let viewers = [net.join(0, "/", Link::default()), net.join(1, "/", Link::default())];
    for viewer in viewers {
        net.client(viewer)
            .subscribe(SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name.clone()) });
    }
    net.run(Duration::from_millis(100));
    let asked = net.record(publisher).events.iter().find_map(|event| match event {
        ClientEvent::SubscribeRequested { request, .. } => Some(*request),
        _ => None,
    });
    let asked = asked.expect("the relay asks the publisher");
    net.client(publisher).accept_subscribe(asked, 5, None);
    for subgroup in [0, 1] {
        let header = SubgroupHeader {
            track_alias: 5,
            group: 3,
            subgroup: SubgroupId::Explicit(subgroup),
            priority: Some(9),
            properties: false,
            end_of_group: false,
            first_object: true,
        };
        net.client(publisher).open_subgroup(asked, header);
    }
    for object in 0..30 {
        net.client(publisher).send_object(5, 3, object % 2, object, &[], &payload(3, object, 100));
    }
    (0..2).for_each(|subgroup| net.client(publisher).end_subgroup(5, 3, subgroup));
    net.run(Duration::from_secs(1));
    let counters = [0, 1].map(|shard| *net.relays[shard].counters());
    assert_eq!(counters.map(|c| (c.objects_in, c.object_bytes_in)), [(30, 3000), (0, 0)]);
    for (viewer, counters) in viewers.iter().zip(counters) {
        assert_eq!((counters.objects_out, counters.object_bytes_out), (30, 3000));
        assert_eq!((counters.objects_out, counters.object_bytes_out), seen(&net, &[*viewer]));
    }
}

#[test]
fn a_slow_viewer_shows_in_dropped_groups_and_a_fast_one_does_not() {
    // 200 kB/s over a link of 60 kB/s.
    let mut broadcast = Broadcast::new(52, 1, 10_000, RelayConfig::default());
    broadcast.run(1);
    let (fast, _) = broadcast.viewer(0, Link::default());
    broadcast.run(10);
    broadcast.net.run(Duration::from_secs(1));
    let before = broadcast.counters(0);
    assert_eq!((before.objects_out, before.object_bytes_out), seen(&broadcast.net, &[fast]));
    assert_eq!(before.groups_dropped, 0);

    let (slow, request) = broadcast.viewer(0, Link { rate: Some(60_000), ..Link::default() });
    broadcast.run(30);
    broadcast.net.run(Duration::from_secs(5));
    let counters = broadcast.counters(0);
    let record = broadcast.net.record(slow);
    let begun: BTreeSet<u64> = record.places(request).iter().map(|(group, _)| *group).collect();
    let whole = |group: &u64| (0..GROUP_LEN).all(|object| record.places(request).contains(&(*group, object)));
    let missed = (111..141).filter(|group| !whole(group)).count() as u64;
    assert!(missed > 5 && begun.len() > 5, "{missed} groups of {begun:?} were missed");
    assert_eq!(counters.groups_dropped, missed, "each group that it did not get whole counts once");

    // What was on its way in a stream that was reset was handed over, and never arrived.
    let (fast_seen, slow_seen) = (seen(&broadcast.net, &[fast]), seen(&broadcast.net, &[slow]));
    let slow_out = counters.objects_out - fast_seen.0;
    assert!((slow_seen.0..=slow_seen.0 + missed).contains(&slow_out), "{slow_out} of {slow_seen:?}");
    assert_eq!(counters.object_bytes_out - fast_seen.1, slow_out * 10_000);
}

#[test]
fn a_group_of_many_subgroups_is_dropped_once() {
    let mut net = Net::open(sim::seed(53));
    let name = track(namespace(&["test"]), "t");
    let publisher = net.join(0, "/", Link::default());
    let published = net.client(publisher).publish(name.clone(), 5, None);
    net.run(Duration::from_millis(100));
    let stalled = net.join(0, "/", Link::default());
    let live = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) };
    let request = net.client(stalled).subscribe(live);
    net.run(Duration::from_millis(100));
    net.peers[stalled.0].down.link.rate = Some(0);
    for group in 0..4 {
        for subgroup in 0..5 {
            let header = SubgroupHeader {
                track_alias: 5,
                group,
                subgroup: SubgroupId::Explicit(subgroup),
                priority: Some(9),
                properties: false,
                end_of_group: false,
                first_object: true,
            };
            net.client(publisher).open_subgroup(published, header);
            net.client(publisher).send_object(5, group, subgroup, subgroup, &[], &payload(group, subgroup, 20_000));
            net.client(publisher).end_subgroup(5, group, subgroup);
        }
        net.run(Duration::from_secs(1));
    }
    net.run(Duration::from_secs(10));
    let groups: HashSet<u64> = net.record(stalled).places(request).iter().map(|(group, _)| *group).collect();
    assert!(groups.is_empty(), "{groups:?}");
    let counters = net.relays[0].counters();
    assert_eq!((counters.objects_in, counters.objects_out, counters.groups_dropped), (20, 0, 4));
}

#[test]
fn evicted_groups_are_counted() {
    let config = RelayConfig { cache_track_len_max: 100_000, ..RelayConfig::default() };
    let mut broadcast = Broadcast::new(54, 1, 1_000, config);
    broadcast.run(20);
    let relay = &broadcast.net.relays[0];
    // Groups of 20 kB: what fits the bound stays.
    let kept = relay.cache_len() as u64 / (GROUP_LEN * 1_000);
    assert!(kept < 6, "{kept}");
    assert_eq!(relay.counters().groups_evicted, 20 - kept);
}
