//! A publisher session is lost and comes back: its viewers keep their subscriptions, wherever it comes back.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, live, payload, token, track};
use streams_relay_core::client::{ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, RelayEvent};
use streams_relay_core::wire::{FullTrackName, Namespace, PublishDoneCode, SubgroupHeader, SubgroupId};

const ALIAS: u64 = 5;

fn video() -> FullTrackName {
    track(live(), "video/720p")
}

struct World {
    net: Net,
}

impl World {
    fn new(seed: u64) -> Self {
        Self { net: Net::new(sim::seed(seed), Shards(2), RelayConfig::default()) }
    }

    /// A session on `shard` that offers the track by PUBLISH and is kept for when it is lost.
    fn publisher(&mut self, shard: usize) -> (ClientId, RequestId) {
        let publisher = self.net.join(shard, "/publish/lv_1?sk=key_1", Link::default());
        let request = self.net.client(publisher).publish(video(), ALIAS, None);
        self.net.run(Duration::from_millis(100));
        assert!(self.net.record(publisher).accepted(request).is_some());
        let session = self.net.session(publisher);
        self.net.relays[shard].keep_when_lost(session);
        (publisher, request)
    }

    /// A session on `shard` that announces the namespace only.
    fn announcer(&mut self, shard: usize) -> ClientId {
        let publisher = self.net.join(shard, "/publish/lv_1?sk=key_1", Link::default());
        self.net.client(publisher).announce(live());
        self.net.run(Duration::from_millis(100));
        let session = self.net.session(publisher);
        self.net.relays[shard].keep_when_lost(session);
        publisher
    }

    fn asked(&self, publisher: ClientId) -> RequestId {
        let asked = self.net.record(publisher).events.iter().find_map(|event| match event {
            ClientEvent::SubscribeRequested { request, track, .. } if *track == video() => Some(*request),
            _ => None,
        });
        asked.expect("the relay asks the publisher for the track")
    }

    fn viewer(&mut self, shard: usize) -> (ClientId, RequestId) {
        let viewer = self.net.join(shard, &format!("/playback/lv_1?tok={}", token("lv_1", 3600)), Link::default());
        let request = self.net.client(viewer).subscribe(SubscribeRequest::live(video()));
        self.net.run(Duration::from_millis(100));
        (viewer, request)
    }

    fn send(&mut self, (publisher, request): (ClientId, RequestId), group: u64) {
        let client = self.net.client(publisher);
        client.open_subgroup(request, header(group));
        for object in 0..3 {
            client.send_object(ALIAS, group, 0, object, &[], &payload(group, object, 64));
        }
        client.end_subgroup(ALIAS, group, 0);
        self.net.run(Duration::from_millis(100));
    }

    fn groups(&self, (viewer, request): (ClientId, RequestId)) -> Vec<u64> {
        let record = self.net.record(viewer);
        record.check(request);
        let mut groups: Vec<u64> = record.places(request).into_iter().map(|(group, _)| group).collect();
        groups.dedup();
        groups
    }

    fn done(&self, (viewer, request): (ClientId, RequestId)) -> Option<PublishDoneCode> {
        self.net.record(viewer).done(request).map(|(code, _, _)| code)
    }

    fn told(&self, wanted: impl Fn(&RelayEvent) -> bool) -> usize {
        self.net.log.iter().filter(|(_, event)| wanted(event)).count()
    }
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

#[test]
fn viewers_on_both_shards_go_on_when_the_publisher_comes_back_to_its_shard() {
    let mut world = World::new(90);
    let first = world.publisher(0);
    let viewers = [world.viewer(0), world.viewer(1)];
    world.send(first, 100);
    world.net.vanish(first.0);
    world.net.run(Duration::from_secs(20));
    let second = world.publisher(0);
    world.send(second, 101);
    for viewer in viewers {
        assert_eq!(world.groups(viewer), [100, 101]);
        assert_eq!(world.done(viewer), None);
    }
    assert_eq!(world.told(|event| matches!(event, RelayEvent::NamespaceDown(_))), 0, "nobody was told of a loss");
}

#[test]
fn viewers_on_both_shards_go_on_when_the_publisher_comes_back_to_another_shard() {
    let mut world = World::new(91);
    let first = world.publisher(0);
    let viewers = [world.viewer(0), world.viewer(1)];
    world.send(first, 100);
    world.net.vanish(first.0);
    world.net.run(Duration::from_secs(20));
    let second = world.publisher(1);
    // What is left of the first is given up, and that ends nothing any more.
    world.net.run(Duration::from_secs(1));
    let now = world.net.now;
    world.net.relays[0].release(now, &live());
    world.send(second, 101);
    for viewer in viewers {
        assert_eq!(world.groups(viewer), [100, 101]);
        assert_eq!(world.done(viewer), None);
    }
    // No shard waits for the other to end it.
    world.net.client(second.0).publish_done(second.1, PublishDoneCode::TrackEnded, 1);
    world.net.run(Duration::from_secs(3));
    for viewer in viewers {
        assert!(world.done(viewer).is_some());
    }
}

#[test]
fn a_track_that_two_shards_published_ends_on_both_with_its_last_publisher() {
    let mut world = World::new(100);
    let publishers = [world.publisher(0), world.publisher(1)];
    let viewers = [world.viewer(0), world.viewer(1)];
    for (publisher, request) in publishers {
        world.net.client(publisher).publish_done(request, PublishDoneCode::TrackEnded, 0);
        world.net.run(Duration::from_secs(3));
    }
    for viewer in viewers {
        assert!(world.done(viewer).is_some());
    }
}

#[test]
fn an_announced_namespace_is_kept_with_its_tracks_and_asked_for_them_again() {
    let mut world = World::new(92);
    let first = world.announcer(0);
    let viewers = [world.viewer(0), world.viewer(1)];
    let upstream = world.asked(first);
    world.net.client(first).accept_subscribe(upstream, ALIAS, None);
    world.net.run(Duration::from_millis(100));
    world.send((first, upstream), 100);
    world.net.vanish(first);
    world.net.run(Duration::from_secs(20));
    assert_eq!(world.told(|event| matches!(event, RelayEvent::NamespaceDown(_))), 0);
    let second = world.announcer(0);
    let upstream = world.asked(second);
    world.net.client(second).accept_subscribe(upstream, ALIAS, None);
    world.net.run(Duration::from_millis(100));
    world.send((second, upstream), 101);
    for viewer in viewers {
        assert_eq!(world.groups(viewer), [100, 101]);
        assert_eq!(world.done(viewer), None);
    }
}

#[test]
fn who_joins_while_the_publisher_is_away_gets_its_newest_group_and_what_comes() {
    let mut world = World::new(93);
    let first = world.publisher(0);
    world.send(first, 100);
    world.net.vanish(first.0);
    world.net.run(Duration::from_millis(500));
    let viewers = [world.viewer(0), world.viewer(1)];
    let second = world.publisher(0);
    world.send(second, 101);
    for viewer in viewers {
        assert_eq!(world.groups(viewer), [100, 101]);
    }
}

#[test]
fn what_nobody_brings_back_ends_when_it_is_given_up() {
    let mut world = World::new(94);
    let first = world.publisher(0);
    let viewers = [world.viewer(0), world.viewer(1)];
    world.send(first, 100);
    world.net.vanish(first.0);
    world.net.run(Duration::from_secs(20));
    assert!(viewers.iter().all(|viewer| world.done(*viewer).is_none()));
    let now = world.net.now;
    world.net.relays[0].release(now, &live());
    world.net.run(Duration::from_secs(1));
    for viewer in viewers {
        assert_eq!(world.done(viewer), Some(PublishDoneCode::TrackEnded));
    }
    // The offer of the track is taken back as well.
    assert_eq!(world.told(|event| matches!(event, RelayEvent::NamespaceDown(_))), 1);
}

#[test]
fn without_the_wish_a_lost_publisher_ends_its_tracks_at_once() {
    let mut world = World::new(95);
    let publisher = world.net.join(0, "/publish/lv_1?sk=key_1", Link::default());
    let request = world.net.client(publisher).publish(video(), ALIAS, None);
    world.net.run(Duration::from_millis(100));
    let viewer = world.viewer(0);
    world.send((publisher, request), 100);
    world.net.vanish(publisher);
    world.net.run(Duration::from_millis(500));
    assert!(world.done(viewer).is_some());
}

#[test]
fn a_publisher_that_ends_its_track_leaves_nothing_to_wait_for() {
    let mut world = World::new(96);
    let first = world.publisher(0);
    let viewer = world.viewer(0);
    world.send(first, 100);
    world.net.client(first.0).publish_done(first.1, PublishDoneCode::TrackEnded, 1);
    world.net.run(Duration::from_millis(500));
    assert_eq!(world.done(viewer), Some(PublishDoneCode::TrackEnded));
    world.net.vanish(first.0);
    world.net.run(Duration::from_millis(100));
    let ended = |event: &RelayEvent| matches!(event, RelayEvent::PublishEnded { lost: false, .. });
    let lost = |event: &RelayEvent| matches!(event, RelayEvent::PublishEnded { lost: true, .. });
    assert_eq!((world.told(ended), world.told(lost)), (1, 0));
}

#[test]
fn the_engine_is_told_once_when_a_session_begins_to_publish_and_when_it_is_lost() {
    let mut world = World::new(97);
    let first = world.publisher(0);
    world.net.client(first.0).announce(live());
    world.net.client(first.0).publish(track(live(), "audio"), ALIAS + 1, None);
    world.net.run(Duration::from_millis(100));
    world.net.vanish(first.0);
    world.net.run(Duration::from_millis(100));
    let (session, input) = (world.net.session(first.0), "lv_1");
    let began = |event: &RelayEvent| matches!(event, RelayEvent::PublishBegan { session: of, input: id } if *of == session && id == input);
    let lost = |event: &RelayEvent| matches!(event, RelayEvent::PublishEnded { session: of, input: id, lost: true } if *of == session && id == input);
    assert_eq!((world.told(began), world.told(lost)), (1, 1));
}

#[test]
fn sessions_that_come_and_go_cannot_pile_up_namespaces() {
    let mut world = World::new(98);
    let most = RelayConfig::default().namespaces_per_session_max;
    let announce = |world: &mut World, round: usize| {
        let publisher = world.net.join(0, "/publish/lv_1?sk=key_1", Link::default());
        for n in 0..most {
            let mut fields = live().fields().to_vec();
            fields.push(format!("{round}.{n}").into());
            world.net.client(publisher).announce(Namespace(fields));
        }
        world.net.run(Duration::from_millis(200));
        let session = world.net.session(publisher);
        world.net.relays[0].keep_when_lost(session);
        world.net.vanish(publisher);
        world.net.run(Duration::from_millis(100));
    };
    let known = |world: &World| {
        let up = world.told(|event| matches!(event, RelayEvent::NamespaceUp(_)));
        up - world.told(|event| matches!(event, RelayEvent::NamespaceDown(_)))
    };
    announce(&mut world, 0);
    assert_eq!(known(&world), most);
    announce(&mut world, 1);
    announce(&mut world, 2);
    assert_eq!(known(&world), most);
    let now = world.net.now;
    world.net.relays[0].release(now, &live());
    world.net.run(Duration::from_millis(100));
    assert_eq!(known(&world), 0);
}

#[test]
fn the_engine_reads_a_track_like_a_viewer_and_gets_its_newest_first_object() {
    let mut world = World::new(99);
    let publisher = world.announcer(0);
    let now = world.net.now;
    assert!(world.net.relays[0].follow(now, &video()));
    assert!(!world.net.relays[0].follow(now, &track(sim::namespace(&["stream", "org_a", "lv_2"]), "video")));
    world.net.run(Duration::from_millis(100));
    let upstream = world.asked(publisher);
    world.net.client(publisher).accept_subscribe(upstream, ALIAS, None);
    world.net.run(Duration::from_millis(100));
    world.send((publisher, upstream), 100);
    // No linger time ends it.
    world.net.run(Duration::from_secs(20));
    world.send((publisher, upstream), 101);
    let newest = world.net.relays[0].newest_first_object(&video());
    assert_eq!(newest.map(|(location, bytes)| (location.group, bytes)), Some((101, payload(101, 0, 64))));
    assert_eq!(world.net.relays[0].largest_group(&live()), Some(101));
    let now = world.net.now;
    world.net.relays[0].unfollow(now, &video());
    world.net.run(Duration::from_secs(6));
    assert!(world.net.saw(publisher, |event| *event == ClientEvent::Cancelled(upstream)));
}
