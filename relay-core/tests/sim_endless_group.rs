//! A group that never ends: its part of the cache is bounded, viewers join what is left of it, and nobody is left behind.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, live, namespace, payload, token, track};
use streams_relay_core::client::{ClientEvent, Join, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, StreamId, TrackConfig, TrackId};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Draft, Fetch, FetchRange, FullTrackName, Parameters, RequestErrorCode, Setup,
    SubgroupHeader, SubgroupId, Subscribe,
};

const GROUP: u64 = 7;
const ALIAS: u64 = 77;
const CACHE_LEN_MAX: usize = 200_000;
/// 50 objects a second of 2 kB: the cache holds two seconds.
const OBJECT_LEN: usize = 2_000;
const INTERVAL: Duration = Duration::from_millis(20);

/// Where the objects come from.
enum From {
    Ingest(TrackId),
    Publisher(ClientId),
    /// A publisher with a stream an object.
    Streams(ClientId),
}

struct Endless {
    net: Net,
    from: From,
    name: FullTrackName,
    sent: u64,
}

impl Endless {
    fn config() -> RelayConfig {
        RelayConfig { open: true, cache_track_len_max: CACHE_LEN_MAX, ..RelayConfig::default() }
    }

    fn ingest(seed: u64, shards: usize, config: RelayConfig) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(shards), config);
        net.namespace_up(0, live());
        let name = track(live(), "video/720p");
        let config = TrackConfig { publisher_priority: 100, pinned: false };
        let from = From::Ingest(net.relays[0].track_open(net.now, name.clone(), config));
        Self { net, from, name, sent: 0 }
    }

    fn publisher(seed: u64, streams: bool, config: RelayConfig) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(1), config);
        let name = track(namespace(&["moq", "test"]), "track");
        let publisher = net.join(0, "/", Link::default());
        let published = net.client(publisher).publish(name.clone(), ALIAS, None);
        net.run(Duration::from_millis(50));
        if !streams {
            net.client(publisher).open_subgroup(published, header(0));
        }
        let from = if streams { From::Streams(publisher) } else { From::Publisher(publisher) };
        Self { net, from, name, sent: 0 }
    }

    fn viewer(&mut self, shard: usize, link: Link) -> (ClientId, RequestId) {
        self.join(shard, link, Join::GroupsBack(0))
    }

    fn join(&mut self, shard: usize, link: Link, join: Join) -> (ClientId, RequestId) {
        let path = match self.from {
            From::Ingest(_) => format!("/playback/lv_1?tok={}", token("lv_1", 3600)),
            _ => "/".to_owned(),
        };
        let viewer = self.net.join(shard, &path, link);
        let wanted = SubscribeRequest { join, ..SubscribeRequest::live(self.name.clone()) };
        let request = self.net.client(viewer).subscribe(wanted);
        (viewer, request)
    }

    fn run(&mut self, objects: u64) {
        for _ in 0..objects {
            let (id, bytes) = (self.sent, payload(GROUP, self.sent, OBJECT_LEN));
            match self.from {
                From::Ingest(track) => self.net.relays[0].object(self.net.now, track, GROUP, id, bytes, false),
                From::Publisher(publisher) => {
                    self.net.client(publisher).send_object(ALIAS, GROUP, 0, id, &[], &bytes);
                }
                From::Streams(publisher) => {
                    let client = self.net.client(publisher);
                    client.open_subgroup(RequestId(0), header(id));
                    client.send_object(ALIAS, GROUP, id, id, &[], &bytes);
                    client.end_subgroup(ALIAS, GROUP, id);
                }
            }
            self.sent += 1;
            self.net.run(INTERVAL);
            assert!(self.net.relays.iter().all(|relay| relay.cache_len() <= CACHE_LEN_MAX), "object {id}");
        }
    }
}

fn header(subgroup: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: ALIAS,
        group: GROUP,
        subgroup: SubgroupId::Explicit(subgroup),
        priority: Some(128),
        properties: false,
        end_of_group: false,
        first_object: true,
    }
}

/// What a late viewer got: objects that are new, without a hole, and from no more than `seconds` back.
fn assert_bounded_rest(endless: &Endless, viewer: ClientId, request: RequestId, joined_at: u64, seconds: u64) {
    let record = endless.net.record(viewer);
    record.check(request);
    let ids: Vec<u64> = record.places(request).iter().map(|(_, object)| *object).collect();
    let first = *ids.first().expect("it got something");
    assert_eq!(ids, (first..endless.sent).collect::<Vec<u64>>(), "from {first} on without a hole, up to the newest");
    assert!(first <= joined_at, "what the cache had: from {first}, joined at {joined_at}");
    assert!(first + seconds * 50 >= joined_at, "a bounded backlog: from {first}, joined at {joined_at}");
    assert_eq!(record.closed(), None);
}

#[test]
fn a_viewer_joins_what_is_left_of_a_long_group_of_the_ingest_on_any_shard() {
    let mut endless = Endless::ingest(300, 2, Endless::config());
    let (running, running_request) = endless.viewer(0, Link::default());
    endless.run(800);
    let joined_at = endless.sent;
    let late: Vec<_> = (0..2).map(|shard| endless.viewer(shard, Link::default())).collect();
    endless.run(10);
    for (viewer, request) in &late {
        // At the live edge at once: a round trip and the link to the other shard.
        assert!(endless.net.record(*viewer).places(*request).last() >= Some(&(GROUP, joined_at + 5)));
    }
    endless.run(200);
    endless.net.run(Duration::from_millis(100));
    for (viewer, request) in late {
        assert_bounded_rest(&endless, viewer, request, joined_at, 2);
    }
    // Who was there all the time saw all of it.
    assert_eq!(endless.net.record(running).places(running_request).len() as u64, endless.sent);
}

#[test]
fn a_viewer_joins_what_is_left_of_a_long_group_of_a_publisher() {
    for streams in [false, true] {
        let mut endless = Endless::publisher(301, streams, Endless::config());
        let (running, running_request) = endless.join(0, Link::default(), Join::NextObject);
        endless.run(800);
        let joined_at = endless.sent;
        let (viewer, request) = endless.viewer(0, Link::default());
        endless.run(200);
        endless.net.run(Duration::from_millis(100));
        if !streams {
            assert_bounded_rest(&endless, viewer, request, joined_at, 2);
        }
        assert!(endless.net.record(viewer).places(request).len() >= 200, "{streams}");
        assert!(endless.net.record(running).places(running_request).len() as u64 >= endless.sent - 1, "{streams}");
        let asked = |event: &ClientEvent| matches!(event, ClientEvent::FetchRequested { .. });
        let (From::Publisher(publisher) | From::Streams(publisher)) = endless.from else { unreachable!() };
        assert!(!endless.net.saw(publisher, asked), "nobody is asked for hours of history");
    }
}

#[test]
fn a_stream_an_object_goes_on_beyond_the_subgroups_of_a_group() {
    let mut endless = Endless::publisher(302, true, RelayConfig { open: true, ..RelayConfig::default() });
    let (viewer, request) = endless.join(0, Link::default(), Join::NextObject);
    // Objects are small here, so that the number of subgroups is the bound that counts.
    let From::Streams(publisher) = endless.from else { unreachable!() };
    for id in 0..5_000 {
        let client = endless.net.client(publisher);
        client.open_subgroup(RequestId(0), header(id));
        client.send_object(ALIAS, GROUP, id, id, &[], &payload(GROUP, id, 10));
        client.end_subgroup(ALIAS, GROUP, id);
        if id % 10 == 9 {
            endless.net.run(Duration::from_millis(10));
        }
    }
    endless.net.run(Duration::from_millis(200));
    assert_eq!(endless.net.relays[0].counters().objects_refused, 0);
    let newest = endless.net.record(viewer).places(request).iter().map(|(_, object)| *object).max();
    assert_eq!(newest, Some(4_999));
}

#[test]
fn a_group_at_a_low_rate_is_bounded_in_time() {
    let mut endless = Endless::ingest(303, 1, RelayConfig { cache_track_len_max: 1_000_000, ..Endless::config() });
    // One small object in 100 ms: two minutes of it are far below the bound of bytes.
    let From::Ingest(source) = endless.from else { unreachable!() };
    for id in 0..1_200 {
        endless.net.relays[0].object(endless.net.now, source, GROUP, id, payload(GROUP, id, 100), false);
        endless.net.run(Duration::from_millis(100));
    }
    let (viewer, request) = endless.viewer(0, Link::default());
    endless.net.run(Duration::from_millis(300));
    let places = endless.net.record(viewer).places(request);
    assert_eq!(places.last(), Some(&(GROUP, 1_199)));
    let seconds = places.len() / 10;
    assert!((59..=61).contains(&seconds), "{seconds} s of backlog");
}

#[test]
fn a_few_lasting_objects_of_an_open_group_stay_whatever_their_age() {
    let mut endless = Endless::ingest(304, 1, Endless::config());
    let From::Ingest(source) = endless.from else { unreachable!() };
    for id in 0..10 {
        endless.net.relays[0].object(endless.net.now, source, GROUP, id, payload(GROUP, id, 100), false);
        endless.net.run(Duration::from_secs(20));
    }
    let (viewer, request) = endless.viewer(0, Link::default());
    endless.net.run(Duration::from_millis(300));
    let all: Vec<(u64, u64)> = (0..10).map(|object| (GROUP, object)).collect();
    assert_eq!(endless.net.record(viewer).places(request), all);
}

#[test]
fn a_viewer_whose_place_was_evicted_goes_on_at_the_live_edge() {
    for delivery_timeout in [Duration::ZERO, Duration::from_secs(3)] {
        let mut endless = Endless::ingest(305, 1, RelayConfig { delivery_timeout, ..Endless::config() });
        let (viewer, request) = endless.viewer(0, Link::default());
        endless.run(50);
        endless.net.peers[viewer.0].down.link.rate = Some(0);
        // Longer than the cache holds, and than an object may wait.
        endless.run(400);
        endless.net.peers[viewer.0].down.link.rate = None;
        endless.run(400);
        endless.net.run(Duration::from_millis(100));
        let record = endless.net.record(viewer);
        record.check(request);
        let ids: Vec<u64> = record.places(request).iter().map(|(_, object)| *object).collect();
        let resumed = *ids.iter().find(|id| **id > 60).expect("it goes on");
        // What was begun may be finished; nothing older than the delivery timeout, or than the cache.
        assert!(resumed >= 290, "{delivery_timeout:?}: not with what is old: {resumed}");
        assert!(resumed <= 610, "{delivery_timeout:?}: soon after its link is back: {resumed}");
        assert_eq!(ids.last(), Some(&(endless.sent - 1)), "{delivery_timeout:?}");
        assert_eq!(record.closed(), None);
    }
}

#[test]
fn a_joining_fetch_of_what_has_left_the_cache_is_refused_before_it_is_accepted() {
    let mut endless = Endless::ingest(306, 1, Endless::config());
    endless.run(5);
    // Nothing that the relay says arrives within this test: the peer is what is injected here.
    let peer = endless.net.join(0, "/", Link { latency: Duration::from_secs(3_600), ..Link::default() });
    let path = Some(format!("/playback/lv_1?tok={}", token("lv_1", 3600)));
    let subscribe = Subscribe { request_id: 0, track: endless.name.clone(), parameters: Parameters::default() };
    inject(&mut endless.net, peer, 2, &ControlMessage::Setup(Setup { path, ..Setup::default() }));
    inject(&mut endless.net, peer, 0, &ControlMessage::Subscribe(subscribe));
    endless.run(800);
    let range = FetchRange::RelativeJoining { joining_request_id: 0, groups_back: 0 };
    let fetch = Fetch { request_id: 2, range, parameters: Parameters::default() };
    inject(&mut endless.net, peer, 4, &ControlMessage::Fetch(fetch));
    endless.net.run(Duration::from_millis(10));
    let mut reader = ControlReader::new(Draft::D18);
    endless.net.peers[peer.0].down.written_on(StreamId(4)).iter().for_each(|data| reader.push(data));
    let answer = reader.next_message().unwrap();
    assert!(
        matches!(&answer, Some(ControlMessage::RequestError(error)) if error.code == RequestErrorCode::InvalidRange),
        "{answer:?}"
    );
}

fn inject(net: &mut Net, peer: ClientId, stream: u64, message: &ControlMessage) {
    let mut bytes = Vec::new();
    message.encode(Draft::D18, &mut bytes).unwrap();
    net.inject(peer, stream, &bytes, false);
}
