//! Two shards of one engine: a viewer on the other shard sees what a viewer at home sees.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{ClientEvent, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{PublishDone, RelayConfig, RelayEvent, TrackConfig, TrackId};
use streams_relay_core::wire::{
    EndLocation, GroupOrder, Location, PublishDoneCode, RequestErrorCode, SubgroupHeader, SubgroupId,
};

const HOME: usize = 0;
const AWAY: usize = 1;

struct Broadcast {
    net: Net,
    video: TrackId,
    sent: u64,
}

impl Broadcast {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
        net.namespace_up(HOME, live());
        let config = TrackConfig { publisher_priority: 100, pinned: false };
        let video = net.relays[HOME].track_open(net.now, track(live(), "video/720p"), config);
        net.run(Duration::from_millis(10));
        Self { net, video, sent: 0 }
    }

    fn run(&mut self, objects: u64) {
        for _ in 0..objects {
            let (group, object, now) = (100 + self.sent / 10, self.sent % 10, self.net.now);
            // Groups end by their last object, or by a mark behind it.
            let marked = group % 2 == 0;
            let relay = &mut self.net.relays[HOME];
            relay.object(now, self.video, group, object, payload(group, object, 500), object == 9 && !marked);
            if object == 9 && marked {
                relay.group_end(now, self.video, group);
            }
            self.sent += 1;
            self.net.run(Duration::from_millis(20));
        }
    }

    fn viewer(&mut self, shard: usize) -> (ClientId, RequestId) {
        let viewer = self.net.join(shard, &format!("/playback/lv_1?tok={}", token("lv_1", 3600)), Link::default());
        let request = self.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "video/720p")));
        (viewer, request)
    }

    fn asks(&self) -> usize {
        self.net.log.iter().filter(|(_, event)| matches!(event, RelayEvent::AskShard { .. })).count()
    }
}

fn places(range: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    range.map(|n| (100 + n / 10, n % 10)).collect()
}

#[test]
fn a_viewer_on_another_shard_joins_late_and_sees_each_object_once() {
    let mut broadcast = Broadcast::new(40);
    broadcast.run(25);
    let (first, first_request) = broadcast.viewer(AWAY);
    let (home, home_request) = broadcast.viewer(HOME);
    broadcast.run(20);
    let (second, second_request) = broadcast.viewer(AWAY);
    broadcast.run(20);
    broadcast.net.run(Duration::from_secs(1));
    assert_eq!(broadcast.asks(), 1, "one subscription serves the whole shard");
    let expected = [(first, first_request, 20..65), (home, home_request, 20..65), (second, second_request, 40..65)];
    for (viewer, request, range) in expected {
        let record = broadcast.net.record(viewer);
        record.check(request);
        assert_eq!(record.places(request), places(range));
        assert!(record.groups(request).iter().all(|(_, complete)| *complete), "{:?}", record.groups(request));
    }
}

#[test]
fn an_overrun_of_the_media_link_is_filled_from_a_new_replay() {
    let mut broadcast = Broadcast::new(41);
    broadcast.run(15);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(10);
    broadcast.net.lose_media(HOME, AWAY, true);
    broadcast.run(12);
    broadcast.net.lose_media(HOME, AWAY, false);
    broadcast.run(20);
    broadcast.net.run(Duration::from_secs(2));
    assert_eq!(broadcast.asks(), 2);
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), places(10..57));
}

#[test]
fn a_viewer_that_joins_while_a_track_refills_misses_nothing() {
    let mut broadcast = Broadcast::new(48);
    broadcast.run(15);
    let (first, first_request) = broadcast.viewer(AWAY);
    broadcast.run(7);
    broadcast.net.lose_media(HOME, AWAY, true);
    broadcast.run(4);
    broadcast.net.replay_latency = Duration::from_millis(200);
    broadcast.net.lose_media(HOME, AWAY, false);
    broadcast.run(3);
    let (second, second_request) = broadcast.viewer(AWAY);
    broadcast.run(20);
    broadcast.net.run(Duration::from_secs(2));
    for (viewer, request, from) in [(first, first_request, 10), (second, second_request, 20)] {
        let record = broadcast.net.record(viewer);
        record.check(request);
        assert_eq!(record.places(request), places(from..49));
    }
}

#[test]
fn overruns_during_a_refill_ask_for_one_more_replay() {
    let mut broadcast = Broadcast::new(49);
    broadcast.run(15);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(5);
    assert_eq!(broadcast.asks(), 1);
    broadcast.net.replay_latency = Duration::from_millis(150);
    for _ in 0..6 {
        broadcast.net.lose_media(HOME, AWAY, true);
        broadcast.run(1);
        broadcast.net.lose_media(HOME, AWAY, false);
    }
    broadcast.run(30);
    broadcast.net.run(Duration::from_secs(2));
    assert_eq!(broadcast.asks(), 3, "the first loss asks, all others together ask once more");
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), places(10..56));
}

#[test]
fn viewers_see_the_live_edge_of_a_link_that_is_too_slow_for_its_media() {
    let mut broadcast = Broadcast::new(50);
    broadcast.run(15);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(5);
    // Longer than an object takes: each replay is old before it is complete.
    broadcast.net.replay_latency = Duration::from_millis(50);
    for _ in 0..40 {
        broadcast.net.lose_media(HOME, AWAY, true);
        broadcast.run(1);
        broadcast.net.lose_media(HOME, AWAY, false);
        broadcast.run(1);
    }
    let record = broadcast.net.record(viewer);
    record.check(request);
    let last = record.places(request).last().copied().unwrap();
    assert!(last >= (100 + broadcast.sent / 10 - 2, 0), "{last:?} of {}", broadcast.sent);
}

#[test]
fn a_replay_whose_end_does_not_come_is_asked_for_again() {
    let mut broadcast = Broadcast::new(51);
    broadcast.run(15);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(5);
    broadcast.net.lose_media(HOME, AWAY, true);
    broadcast.run(2);
    broadcast.net.ends_lost = 1;
    broadcast.net.lose_media(HOME, AWAY, false);
    broadcast.run(400);
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request).last(), places(421..422).last());
    assert_eq!(broadcast.asks(), 3);
}

#[test]
fn a_busy_shard_is_asked_again_until_it_has_room() {
    let mut broadcast = Broadcast::new(52);
    broadcast.run(15);
    broadcast.net.busy = 3;
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.net.run(Duration::from_secs(1));
    broadcast.run(10);
    broadcast.net.run(Duration::from_secs(1));
    assert_eq!(broadcast.asks(), 4);
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), places(10..25));
}

#[test]
fn the_end_of_a_track_crosses_after_its_last_objects() {
    let mut broadcast = Broadcast::new(42);
    broadcast.run(5);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(7);
    let (now, video) = (broadcast.net.now, broadcast.video);
    broadcast.net.relays[HOME].object(now, video, 101, 2, payload(101, 2, 500), true);
    broadcast.net.relays[HOME].track_end(now, video, PublishDone::TrackEnded);
    broadcast.net.run(Duration::from_secs(3));
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), places(0..13));
    let (code, count, seen) = record.done(request).unwrap();
    assert_eq!((code, count), (PublishDoneCode::TrackEnded, Some(seen)));
}

#[test]
fn a_shard_lets_go_of_a_track_after_the_linger_time() {
    let mut broadcast = Broadcast::new(43);
    broadcast.run(5);
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(5);
    broadcast.net.client(viewer).cancel(request);
    broadcast.net.run(Duration::from_secs(3));
    let dropped = |net: &Net| net.log.iter().filter(|(_, e)| matches!(e, RelayEvent::DropShard { .. })).count();
    assert_eq!(dropped(&broadcast.net), 0);
    broadcast.net.run(Duration::from_secs(3));
    assert_eq!(dropped(&broadcast.net), 1);
    // And comes back for it.
    let (viewer, request) = broadcast.viewer(AWAY);
    broadcast.run(5);
    broadcast.net.run(Duration::from_millis(200));
    let record = broadcast.net.record(viewer);
    record.check(request);
    assert_eq!(record.places(request), places(0..15)[10..].to_vec());
}

#[test]
fn a_track_that_opens_later_reaches_those_who_wait_on_another_shard() {
    let mut broadcast = Broadcast::new(44);
    let late = track(live(), "audio");
    let viewer = broadcast.net.join(AWAY, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let now = broadcast.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "nothing")));
    let wanted = SubscribeRequest { rendezvous: Duration::from_secs(8), ..SubscribeRequest::live(late.clone()) };
    let request = broadcast.net.client(viewer).subscribe(wanted);
    broadcast.net.run(Duration::from_secs(3));
    assert_eq!(broadcast.net.record(viewer).refusal(now), Some(RequestErrorCode::DoesNotExist));
    assert_eq!(broadcast.net.record(viewer).refusal(request), None);
    let config = TrackConfig { publisher_priority: 50, pinned: false };
    let audio = broadcast.net.relays[HOME].track_open(broadcast.net.now, late, config);
    broadcast.net.run(Duration::from_secs(1));
    broadcast.net.relays[HOME].object(broadcast.net.now, audio, 100, 0, payload(100, 0, 9), true);
    broadcast.net.run(Duration::from_secs(1));
    assert_eq!(broadcast.net.record(viewer).places(request), [(100, 0)]);
}

#[test]
fn a_publisher_session_on_one_shard_serves_viewers_of_another() {
    let mut net = Net::new(sim::seed(45), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
    let publisher = net.join(HOME, "/", Link::default());
    net.client(publisher).announce(namespace(&["test"]));
    net.run(Duration::from_millis(100));
    let name = track(namespace(&["test"]), "t");
    let viewers = [net.join(AWAY, "/", Link::default()), net.join(HOME, "/", Link::default())];
    let wanted = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name) };
    let requests = viewers.map(|viewer| net.client(viewer).subscribe(wanted.clone()));
    net.run(Duration::from_millis(100));
    let asked: Vec<RequestId> = net
        .record(publisher)
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::SubscribeRequested { request, .. } => Some(*request),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 1, "both shards share one upstream subscription");
    net.client(publisher).accept_subscribe(asked[0], 5, None);
    net.run(Duration::from_millis(100));
    for subgroup in [0, 3] {
        let header = SubgroupHeader {
            track_alias: 5,
            group: 8,
            subgroup: SubgroupId::Explicit(subgroup),
            priority: Some(9),
            properties: true,
            end_of_group: subgroup == 3,
            first_object: true,
        };
        net.client(publisher).open_subgroup(asked[0], header);
    }
    for object in 0..6 {
        let subgroup = if object % 2 == 0 { 0 } else { 3 };
        net.client(publisher).send_object(5, 8, subgroup, object, &[0x10, 7], &payload(8, object, 40));
        net.run(Duration::from_millis(10));
    }
    net.client(publisher).end_subgroup(5, 8, 0);
    net.client(publisher).end_subgroup(5, 8, 3);
    net.client(publisher).publish_done(asked[0], PublishDoneCode::TrackEnded, 2);
    net.run(Duration::from_secs(2));
    for (viewer, request) in viewers.into_iter().zip(requests) {
        let record = net.record(viewer);
        let objects: Vec<_> = record.objects(request);
        let mut fields: Vec<_> =
            objects.iter().map(|o| (o.object, o.subgroup, o.priority, o.properties.len())).collect();
        fields.sort_unstable();
        assert_eq!(fields, [(0, 0, 9, 2), (1, 3, 9, 2), (2, 0, 9, 2), (3, 3, 9, 2), (4, 0, 9, 2), (5, 3, 9, 2)]);
        assert_eq!(record.done(request), Some((PublishDoneCode::TrackEnded, Some(2), 2)));
        assert!(net.peers[viewer.0].down.resets.is_empty());
    }
}

#[test]
fn a_published_track_is_found_and_offered_on_the_other_shard() {
    let mut net = Net::new(sim::seed(46), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
    let name = track(namespace(&["test"]), "t");
    let early = net.join(AWAY, "/", Link::default());
    net.client(early).watch_tracks(namespace(&["test"]), None);
    let waiting = net.join(AWAY, "/", Link::default());
    let wanted = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name.clone()) };
    let held = SubscribeRequest { rendezvous: Duration::from_secs(5), ..wanted.clone() };
    let waiting_request = net.client(waiting).subscribe(held);
    net.run(Duration::from_millis(100));
    let publisher = net.join(HOME, "/", Link::default());
    let published = net.client(publisher).publish(name.clone(), 7, None);
    net.run(Duration::from_millis(200));
    let late = net.join(AWAY, "/", Link::default());
    net.client(late).watch_tracks(namespace(&["test"]), None);
    net.run(Duration::from_millis(200));
    let header = SubgroupHeader {
        track_alias: 7,
        group: 1,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: true,
        first_object: true,
    };
    net.client(publisher).open_subgroup(published, header);
    net.client(publisher).send_object(7, 1, 0, 0, &[], &payload(1, 0, 10));
    net.client(publisher).end_subgroup(7, 1, 0);
    net.run(Duration::from_millis(300));
    assert_eq!(net.record(waiting).places(waiting_request), [(1, 0)]);
    for watcher in [early, late] {
        let offered = net.record(watcher).events.iter().find_map(|event| match event {
            ClientEvent::TrackOffered { request, track, .. } if *track == name => Some(*request),
            _ => None,
        });
        assert_eq!(net.record(watcher).places(offered.unwrap()), [(1, 0)]);
    }
    // Once the publisher is gone nobody is sent there any more.
    net.vanish(publisher);
    net.run(Duration::from_secs(7));
    let gone = net.join(AWAY, "/", Link::default());
    let request = net.client(gone).subscribe(wanted);
    net.run(Duration::from_millis(200));
    assert_eq!(net.record(gone).refusal(request), Some(RequestErrorCode::DoesNotExist));
}

#[test]
fn status_and_fetch_work_from_another_shard() {
    let mut broadcast = Broadcast::new(47);
    broadcast.run(25);
    let viewer = broadcast.net.join(AWAY, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
    let name = track(live(), "video/720p");
    let status = broadcast.net.client(viewer).track_status(name.clone(), None);
    let fetch = broadcast.net.client(viewer).fetch(FetchRequest {
        track: name,
        start: Location::new(101, 3),
        end: EndLocation::at(Location::new(102, 1)),
        order: GroupOrder::Ascending,
        priority: 128,
        token: None,
    });
    broadcast.net.run(Duration::from_millis(300));
    let record = broadcast.net.record(viewer);
    assert_eq!(record.accepted(status), Some(Some(Location::new(102, 4))));
    assert_eq!(record.places(fetch), places(13..22));
    assert!(record.events.contains(&ClientEvent::FetchEnd { request: fetch, complete: true }));
}
