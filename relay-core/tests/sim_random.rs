//! Whatever the network does, a subscription never loses, repeats or misorders an object without saying so.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Random, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{ClientConfig, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, TrackConfig, TrackId};
use streams_relay_core::wire::{PublishDoneCode, SubgroupHeader, SubgroupId};

/// A viewer, what it asked for, and whether its link can carry everything.
struct Watching {
    viewer: ClientId,
    request: RequestId,
    ample: bool,
}

/// Everything one run is made of.
struct Run {
    net: Net,
    random: Random,
    /// The cache holds every group that somebody may still want.
    roomy: bool,
    tracks: Vec<TrackId>,
    sent: Vec<(u64, u64)>,
    watching: Vec<(usize, Watching)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let config = RelayConfig {
            cache_track_len_max: 20_000 + random.below(400_000) as usize,
            delivery_timeout: Duration::from_millis(300 + random.below(3_000)),
            ..RelayConfig::default()
        };
        let roomy = config.cache_track_len_max > 200_000;
        let shards = 1 + random.below(3) as usize;
        let mut net = Net::new(seed, Shards(shards), config);
        net.namespace_up(0, live());
        let open = |index: usize| {
            let config = TrackConfig { publisher_priority: 100 + (index % 2) as u8, pinned: false };
            net.relays[0].track_open(net.now, track(live(), &format!("t{index}")), config)
        };
        let tracks: Vec<TrackId> = (0..3).map(open).collect();
        let sent = vec![(1000, 0); tracks.len()];
        net.run(Duration::from_millis(5));
        Self { net, random, roomy, tracks, sent, watching: Vec::new() }
    }

    fn link(&mut self) -> (Link, bool) {
        let ample = self.random.below(3) > 0;
        let link = Link {
            latency: Duration::from_millis(1 + self.random.below(60)),
            jitter: Duration::from_millis(self.random.below(80)),
            loss_one_in: [0, 50, 8][self.random.below(3) as usize],
            rate: if ample { None } else { Some(5_000 + self.random.below(60_000)) },
            uni_max: u64::MAX,
        };
        (link, ample)
    }

    fn join(&mut self) {
        let (link, ample) = self.link();
        let shard = self.random.below(self.net.relays.len() as u64) as usize;
        let path = format!("/playback/lv_1?tok={}", token("lv_1", 3600));
        // The order of streams is the network's: what a lost write delays is waited for.
        let config = ClientConfig { path, gap_wait: Duration::from_secs(1), ..ClientConfig::default() };
        let viewer = self.net.join_with(shard, link, config);
        let wanted = self.random.below(self.tracks.len() as u64) as usize;
        let join = match self.random.below(4) {
            0 => Join::NextObject,
            1 => Join::NextGroup,
            back => Join::GroupsBack(back - 2),
        };
        let request = SubscribeRequest { join, ..SubscribeRequest::live(track(live(), &format!("t{wanted}"))) };
        let request = self.net.client(viewer).subscribe(request);
        self.watching.push((wanted, Watching { viewer, request, ample }));
    }

    /// One object of a random track.
    fn publish(&mut self) {
        let index = self.random.below(self.tracks.len() as u64) as usize;
        let (group, object) = self.sent[index];
        let last = self.random.below(12) == 0;
        let bytes = payload(group, object, self.random.below(6_000) as usize);
        self.net.relays[0].object(self.net.now, self.tracks[index], group, object, bytes, last);
        self.sent[index] = if last { (group + 1, 0) } else { (group, object + 1) };
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..3 if self.watching.len() < 12 => self.join(),
            3 if !self.watching.is_empty() => {
                let index = self.random.below(self.watching.len() as u64) as usize;
                let (_, watching) = self.watching.swap_remove(index);
                match self.random.below(2) {
                    0 => self.net.client(watching.viewer).cancel(watching.request),
                    _ => self.net.vanish(watching.viewer),
                }
                self.net.record(watching.viewer).check(watching.request);
            }
            4 if self.net.relays.len() > 1 => {
                let to = 1 + self.random.below(self.net.relays.len() as u64 - 1) as usize;
                let lose = self.random.below(2) == 0;
                self.net.lose_media(0, to, lose);
            }
            5..45 => self.publish(),
            _ => {
                let pause = Duration::from_micros(self.random.below(20_000));
                self.net.run(pause);
            }
        }
    }

    fn finish(mut self) {
        for to in 1..self.net.relays.len() {
            self.net.lose_media(0, to, false);
        }
        // Groups end for everybody, and one more follows; the slowest link needs half a minute for a joining fetch.
        for _ in 0..2 {
            for (track, sent) in self.tracks.iter().zip(&mut self.sent) {
                let bytes = payload(sent.0, sent.1, 100);
                self.net.relays[0].object(self.net.now, *track, sent.0, sent.1, bytes, true);
                *sent = (sent.0 + 1, 0);
            }
            self.net.run(Duration::from_secs(40));
        }
        for (index, watching) in &self.watching {
            let record = self.net.record(watching.viewer);
            record.check(watching.request);
            assert_eq!(record.closed(), None);
            if record.accepted(watching.request).is_none() {
                continue;
            }
            let newest = self.sent[*index].0 - 1;
            let last = record.places(watching.request).last().copied();
            assert_eq!(last, Some((newest, 0)), "viewer {:?} ends at the live edge", watching.viewer);
            if watching.ample && self.roomy && self.net.relays.len() == 1 {
                let cut: Vec<_> = record.groups(watching.request).into_iter().filter(|(_, whole)| !whole).collect();
                assert!(cut.is_empty(), "viewer {:?} has room for everything: {cut:?}", watching.viewer);
            }
        }
    }
}

/// A publisher session with one track: streams overtake each other, and some are reset.
fn publish_at_random(seed: u64) {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(2) as usize;
    let mut net = Net::new(seed, Shards(shards), RelayConfig { open: true, ..RelayConfig::default() });
    let name = track(namespace(&["test"]), "t");
    let jitter = Duration::from_millis(random.below(50));
    let publisher = net.join(0, "/", Link { jitter, ..Link::default() });
    let published = net.client(publisher).publish(name.clone(), 1, None);
    net.run(Duration::from_millis(200));
    let mut watching = Vec::new();
    let mut streams = 0;
    for group in 0..30 {
        if watching.len() < 6 {
            let jitter = Duration::from_millis(random.below(50));
            let shard = random.below(shards as u64) as usize;
            let config = ClientConfig { gap_wait: Duration::from_secs(1), ..ClientConfig::default() };
            let viewer = net.join_with(shard, Link { jitter, ..Link::default() }, config);
            let join = if random.below(2) == 0 { Join::NextObject } else { Join::GroupsBack(0) };
            let request =
                net.client(viewer).subscribe(SubscribeRequest { join, ..SubscribeRequest::live(name.clone()) });
            watching.push((viewer, request));
        }
        let header = SubgroupHeader {
            track_alias: 1,
            group,
            subgroup: SubgroupId::Zero,
            priority: None,
            properties: random.below(2) == 0,
            end_of_group: random.below(2) == 0,
            first_object: true,
        };
        net.client(publisher).open_subgroup(published, header);
        streams += 1;
        for object in 0..random.below(12) + 1 {
            let bytes = payload(group, object, random.below(3_000) as usize);
            net.client(publisher).send_object(1, group, 0, object, &[], &bytes);
            net.run(Duration::from_millis(random.below(15)));
        }
        if random.below(5) == 0 {
            net.client(publisher).reset_subgroup(1, group, 0, 2);
        } else {
            net.client(publisher).end_subgroup(1, group, 0);
        }
    }
    net.client(publisher).publish_done(published, PublishDoneCode::TrackEnded, streams);
    net.run(Duration::from_secs(15));
    for (viewer, request) in watching {
        let record = net.record(viewer);
        record.check(request);
        let (code, count, seen) = record.done(request).unwrap();
        assert_eq!(code, PublishDoneCode::TrackEnded);
        assert!(seen <= count.unwrap(), "{seen} streams of {count:?}");
    }
}

#[test]
fn no_schedule_of_a_publisher_confuses_its_viewers() {
    let first = sim::seed(1);
    let runs = sim::runs(60);
    for seed in first..first + runs {
        println!("SEED={seed}");
        publish_at_random(seed);
    }
}

#[test]
fn no_schedule_loses_repeats_or_misorders_objects_unnoticed() {
    let first = sim::seed(1);
    let runs = sim::runs(60);
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut run = Run::new(seed);
        for _ in 0..1_500 {
            run.step();
        }
        run.finish();
    }
}
