//! A publisher's stream dies in the middle of an object: what came before it reaches the viewers, and a stream that brings the
//! rest makes the subgroup whole again.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, namespace, payload, track};
use streams_relay_core::client::{Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, StreamId};
use streams_relay_core::wire::{Draft, ObjectStatus, SubgroupHeader, SubgroupId, encode_object_head};

const ALIAS: u64 = 77;
/// Streams of the publisher that its own machine never opens.
const FIRST: u64 = 4_002;
const SECOND: u64 = 4_006;

struct World {
    net: Net,
    publisher: ClientId,
    viewers: Vec<(ClientId, RequestId)>,
}

impl World {
    /// A publisher on the first shard, and a viewer on each.
    fn new(seed: u64) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(2), RelayConfig { open: true, ..RelayConfig::default() });
        let name = track(namespace(&["moq", "test"]), "track");
        let publisher = net.join(0, "/", Link::default());
        net.client(publisher).publish(name.clone(), ALIAS, None);
        net.run(Duration::from_millis(50));
        let mut viewers = Vec::new();
        for shard in 0..2 {
            let viewer = net.join(shard, "/", Link::default());
            let wanted = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(name.clone()) };
            viewers.push((viewer, net.client(viewer).subscribe(wanted)));
        }
        net.run(Duration::from_millis(100));
        Self { net, publisher, viewers }
    }

    /// Bytes of the subgroup stream with these objects, `cut` bytes short.
    fn send(&mut self, stream: u64, objects: &[u64], cut: usize, fin: bool) {
        let mut bytes = Vec::new();
        let header = SubgroupHeader {
            track_alias: ALIAS,
            group: 0,
            subgroup: SubgroupId::Zero,
            priority: Some(1),
            properties: false,
            end_of_group: true,
            first_object: true,
        };
        header.encode(Draft::D18, &mut bytes);
        let mut next = 0;
        for object in objects {
            let payload = payload(0, *object, 500);
            encode_object_head(Draft::D18, object - next, None, payload.len(), ObjectStatus::Normal, &mut bytes);
            bytes.extend_from_slice(&payload);
            next = object + 1;
        }
        self.net.inject(self.publisher, stream, &bytes[..bytes.len() - cut], fin);
    }

    fn reset(&mut self, stream: u64) {
        let (now, session) = (self.net.now, self.net.session(self.publisher));
        self.net.relays[0].stream_reset(now, session, StreamId(stream), 0x1);
    }

    fn assert_all(&self, places: &[(u64, u64)], groups: &[(u64, bool)]) {
        for (viewer, request) in &self.viewers {
            let record = self.net.record(*viewer);
            record.check(*request);
            assert_eq!(record.places(*request), places);
            assert_eq!(record.groups(*request), groups);
        }
    }
}

#[test]
fn a_subgroup_that_is_sent_again_whole_after_a_reset_reaches_viewers_whole() {
    // The second stream comes at once, or so late that the viewers' streams were reset meanwhile.
    for pause in [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(600)] {
        let mut world = World::new(310);
        world.send(FIRST, &[0, 1, 2], 100, false);
        world.reset(FIRST);
        world.net.run(pause);
        world.send(SECOND, &[0, 1, 2, 3], 0, true);
        world.net.run(Duration::from_secs(2));
        let whole = pause < Duration::from_millis(200);
        let places = [(0, 0), (0, 1), (0, 2), (0, 3)];
        if whole {
            world.assert_all(&places, &[(0, true)]);
            assert!(
                world.viewers.iter().all(|(viewer, _)| world.net.peers[viewer.0].down.resets.is_empty()),
                "{pause:?}"
            );
        } else {
            // A client that saw a reset cannot call the group complete; it has all of it.
            for (viewer, request) in &world.viewers {
                assert_eq!(world.net.record(*viewer).places(*request), places, "{pause:?}");
            }
        }
    }
}

#[test]
fn what_came_before_a_reset_leaves_before_it() {
    let mut world = World::new(311);
    world.send(FIRST, &[0, 1, 2], 100, false);
    world.reset(FIRST);
    world.net.run(Duration::from_secs(2));
    for (viewer, request) in &world.viewers {
        assert_eq!(world.net.record(*viewer).places(*request), [(0, 0), (0, 1)]);
        assert_eq!(world.net.peers[viewer.0].down.resets.len(), 1, "and then the reset says that it was not all");
    }
}

#[test]
fn a_subgroup_that_goes_on_behind_a_hole_is_never_called_whole() {
    let mut world = World::new(312);
    world.send(FIRST, &[0, 1, 2], 100, false);
    world.reset(FIRST);
    world.send(SECOND, &[3, 4], 0, true);
    world.net.run(Duration::from_secs(2));
    for (viewer, request) in &world.viewers {
        let record = world.net.record(*viewer);
        record.check(*request);
        assert!(!record.groups(*request).contains(&(0, true)), "{:?}", record.groups(*request));
        assert!(!world.net.peers[viewer.0].down.resets.is_empty());
    }
}
