//! A viewer that comes late sees the newest group from its start, each object once, and then everything that follows.

mod sim;

use std::time::Duration;

use sim::{Link, Net, Shards, live, payload, token, track};
use streams_relay_core::client::{ClientConfig, Join, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, TrackConfig, TrackId};
use streams_relay_core::wire::Location;

const VIDEO: TrackConfig = TrackConfig { publisher_priority: 100, pinned: false };

/// A live input whose video track has ten objects a group, one every 20 ms.
struct Broadcast {
    net: Net,
    video: TrackId,
    group: u64,
    object: u64,
}

impl Broadcast {
    fn new() -> Self {
        let mut net = Net::new(sim::seed(1), Shards(1), RelayConfig::default());
        net.namespace_up(0, live());
        let video = net.relays[0].track_open(net.now, track(live(), "video/720p"), VIDEO);
        Self { net, video, group: 1000, object: 0 }
    }

    fn run(&mut self, objects: u64) {
        for _ in 0..objects {
            let bytes = payload(self.group, self.object, 3000);
            let last = self.object == 9;
            self.net.relays[0].object(self.net.now, self.video, self.group, self.object, bytes, last);
            (self.group, self.object) = if last { (self.group + 1, 0) } else { (self.group, self.object + 1) };
            self.net.run(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_late_viewer_gets_the_newest_group_and_everything_after_it_once() {
    let mut broadcast = Broadcast::new();
    broadcast.run(25);
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let viewer = broadcast.net.join(0, &path, Link::default());
    let request = broadcast.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "video/720p")));
    broadcast.run(40);
    broadcast.net.run(Duration::from_secs(1));
    let record = broadcast.net.record(viewer);
    record.check(request);
    let expected: Vec<(u64, u64)> = (20..65).map(|n| (1000 + n / 10, n % 10)).collect();
    assert_eq!(record.places(request), expected);
    assert!(record.objects(request)[0].fetched, "the start of the group comes by the joining FETCH");
    let groups: Vec<(u64, bool)> = (1002..1006).map(|group| (group, true)).collect();
    assert_eq!(record.groups(request), groups);
}

#[test]
fn a_viewer_that_joins_behind_the_last_object_is_told_that_it_was_the_last() {
    let mut broadcast = Broadcast::new();
    broadcast.run(30);
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let viewer = broadcast.net.join(0, &path, Link::default());
    let request = broadcast.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "video/720p")));
    // Much less than the client's patience with a group that does not end.
    broadcast.net.run(Duration::from_millis(200));
    assert_eq!(broadcast.net.record(viewer).groups(request), [(1002, true)]);
    broadcast.run(10);
    broadcast.net.run(Duration::from_millis(200));
    let record = broadcast.net.record(viewer);
    record.check(request);
    let expected: Vec<(u64, u64)> = (20..40).map(|n| (1000 + n / 10, n % 10)).collect();
    assert_eq!(record.places(request), expected);
    assert_eq!(record.groups(request), [(1002, true), (1003, true)]);
}

#[test]
fn a_viewer_may_join_some_groups_back() {
    let mut broadcast = Broadcast::new();
    broadcast.run(38);
    let path = format!("/playback/pb_1?tok={}", token("pb_1", 600));
    let viewer = broadcast.net.join(0, &path, Link::default());
    let join = Join::GroupsBack(2);
    let request = broadcast
        .net
        .client(viewer)
        .subscribe(SubscribeRequest { join, ..SubscribeRequest::live(track(live(), "video/720p")) });
    broadcast.run(10);
    broadcast.net.run(Duration::from_secs(1));
    let record = broadcast.net.record(viewer);
    record.check(request);
    let expected: Vec<(u64, u64)> = (10..48).map(|n| (1000 + n / 10, n % 10)).collect();
    assert_eq!(record.places(request), expected);
}

#[test]
fn a_viewer_without_a_joining_fetch_starts_where_its_filter_says() {
    let mut broadcast = Broadcast::new();
    broadcast.run(14);
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let wanted = track(live(), "video/720p");
    let joins = [
        (Join::NextObject, 14..40),
        (Join::NextGroup, 20..40),
        (Join::From(Location::new(1003, 2)), 32..40),
        (Join::Range(Location::new(1002, 0), 1002), 20..30),
    ];
    let mut viewers = Vec::new();
    for (join, expected) in joins {
        let viewer = broadcast.net.join(0, &path, Link::default());
        let request =
            broadcast.net.client(viewer).subscribe(SubscribeRequest { join, ..SubscribeRequest::live(wanted.clone()) });
        viewers.push((viewer, request, expected));
    }
    broadcast.net.run(Duration::from_millis(100));
    broadcast.run(26);
    broadcast.net.run(Duration::from_secs(2));
    for (viewer, request, expected) in viewers {
        let record = broadcast.net.record(viewer);
        record.check(request);
        let expected: Vec<(u64, u64)> = expected.map(|n| (1000 + n / 10, n % 10)).collect();
        assert_eq!(record.places(request), expected);
    }
}

/// Group ids of this service: unix milliseconds, about two seconds apart and never by the same step.
fn clock_id(group: u64) -> u64 {
    1_795_000_000_000 + group * 2_000 + group * group % 7
}

#[test]
fn a_new_group_whose_id_is_a_time_is_shown_at_once() {
    let mut broadcast = Broadcast::new();
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let viewer = broadcast.net.join(0, &path, Link::default());
    let mut request = None;
    for group in 0..6 {
        for object in 0..10 {
            let (id, net) = (clock_id(group), &mut broadcast.net);
            net.relays[0].object(net.now, broadcast.video, id, object, payload(id, object, 3000), object == 9);
            net.run(Duration::from_millis(20));
            if group > 0 {
                // The link takes 10 ms: nothing is held back, at the start of a group either.
                let last = net.record(viewer).places(request.unwrap()).last().copied();
                assert_eq!(last, Some((id, object)));
            } else if object == 4 {
                let wanted = SubscribeRequest::live(track(live(), "video/720p"));
                request = Some(net.client(viewer).subscribe(wanted));
            }
        }
    }
    let record = broadcast.net.record(viewer);
    record.check(request.unwrap());
    let groups: Vec<(u64, bool)> = (0..6).map(|group| (clock_id(group), true)).collect();
    assert_eq!(record.groups(request.unwrap()), groups);
}

#[test]
fn a_viewer_that_takes_groups_as_they_come_still_joins_at_a_groups_start() {
    let mut broadcast = Broadcast::new();
    broadcast.run(25);
    let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
    let config = ClientConfig { path, group_wait: Duration::ZERO, ..ClientConfig::default() };
    let link = Link { latency: Duration::from_millis(30), ..Link::default() };
    let viewer = broadcast.net.join_with(0, link, config);
    let request = broadcast.net.client(viewer).subscribe(SubscribeRequest::live(track(live(), "video/720p")));
    broadcast.run(40);
    broadcast.net.run(Duration::from_secs(1));
    let record = broadcast.net.record(viewer);
    record.check(request);
    let expected: Vec<(u64, u64)> = (20..65).map(|n| (1000 + n / 10, n % 10)).collect();
    assert_eq!(record.places(request), expected);
}
