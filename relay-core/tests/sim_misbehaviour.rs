//! A peer that breaks the rules loses its own session, with the right code, and nothing else.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Random, Shards, live, payload, token, track};
use streams_relay_core::client::{ClientConfig, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, TrackConfig, TrackId, Transport};
use streams_relay_core::wire::{
    AuthToken, ControlMessage, Draft, Goaway, Parameters, Setup, Subscribe, SubscribeOk, TrackStatus,
};

const PROTOCOL_VIOLATION: u64 = 0x3;
const INVALID_REQUEST_ID: u64 = 0x4;
const KEY_VALUE_FORMATTING: u64 = 0x6;
const INVALID_PATH: u64 = 0x8;
const AUTH_TOKEN_CACHE_OVERFLOW: u64 = 0x13;
const UNKNOWN_AUTH_TOKEN_ALIAS: u64 = 0x17;
const INVALID_AUTHORITY: u64 = 0x19;

/// A relay with one live track, and a well-behaved viewer of it.
struct World {
    net: Net,
    video: TrackId,
    honest: ClientId,
    request: streams_relay_core::client::RequestId,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(1), RelayConfig { open: true, ..RelayConfig::default() });
        net.namespace_up(0, live());
        let config = TrackConfig { publisher_priority: 100, pinned: false };
        let video = net.relays[0].track_open(net.now, track(live(), "video"), config);
        let honest = net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 600)), Link::default());
        let request = net.client(honest).subscribe(SubscribeRequest::live(track(live(), "video")));
        net.run(Duration::from_millis(100));
        Self { net, video, honest, request }
    }

    /// A session without a client: only what is injected.
    fn raw(&mut self, transport: Transport) -> ClientId {
        let path = format!("/playback/lv_1?tok={}", token("lv_1", 600));
        let id = self.net.join_with(0, Link::default(), ClientConfig { path, transport, ..ClientConfig::default() });
        // Its own machine never sends anything.
        self.net.peers[id.0].up.link.latency = Duration::from_secs(3600);
        id
    }

    fn setup(&mut self, id: ClientId) {
        let path = Some(format!("/playback/lv_1?tok={}", token("lv_1", 600)));
        self.net.inject(id, 2, &encoded(&ControlMessage::Setup(Setup { path, ..Setup::default() })), false);
    }

    /// The code that the session was closed with, after checking that the honest viewer still gets everything.
    fn close_code(mut self, id: ClientId) -> Option<u64> {
        for object in 0..5 {
            let bytes = payload(7, object, 50);
            self.net.relays[0].object(self.net.now, self.video, 7, object, bytes, object == 4);
            self.net.run(Duration::from_millis(20));
        }
        self.net.run(Duration::from_millis(200));
        assert_eq!(self.net.record(self.honest).places(self.request).len(), 5, "the honest viewer is unharmed");
        assert_eq!(self.net.record(self.honest).closed(), None);
        self.net.peers[id.0].down.closed.as_ref().map(|(code, _)| *code)
    }
}

fn encoded(message: &ControlMessage) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(Draft::D18, &mut out).unwrap();
    out
}

fn status(request_id: u64) -> ControlMessage {
    let parameters = Parameters::default();
    ControlMessage::TrackStatus(TrackStatus { request_id, track: track(live(), "video"), parameters })
}

/// One thing a peer may do wrong after SETUP: streams with their bytes and whether they end, and the code it earns.
#[test]
fn each_broken_rule_has_its_code() {
    let ok = SubscribeOk { track_alias: 1, parameters: Parameters::default(), properties: Default::default() };
    let goaway = |uri: &str, id| {
        let new_session_uri = uri.to_owned();
        encoded(&ControlMessage::Goaway(Goaway { new_session_uri, timeout_ms: 0, request_id: Some(id) }))
    };
    let with_token = |token| {
        let parameters = Parameters { auth_tokens: vec![token], ..Parameters::default() };
        encoded(&ControlMessage::Subscribe(Subscribe { request_id: 0, track: track(live(), "video"), parameters }))
    };
    type Steps = Vec<(u64, Vec<u8>, bool)>;
    let cases: Vec<(&str, Steps, u64)> = vec![
        ("the control stream ends", vec![(2, vec![], true)], PROTOCOL_VIOLATION),
        ("a second SETUP", vec![(2, encoded(&ControlMessage::Setup(Setup::default())), false)], PROTOCOL_VIOLATION),
        (
            "a second control stream",
            vec![(6, encoded(&ControlMessage::Setup(Setup::default())), false)],
            PROTOCOL_VIOLATION,
        ),
        ("a request on the control stream", vec![(2, encoded(&status(0)), false)], PROTOCOL_VIOLATION),
        (
            "an answer that opens a request",
            vec![(0, encoded(&ControlMessage::SubscribeOk(ok)), false)],
            PROTOCOL_VIOLATION,
        ),
        ("an unknown message", vec![(0, vec![0x3F, 0, 0], false)], PROTOCOL_VIOLATION),
        ("a message cut off by the end", vec![(0, vec![0x03, 0, 9, 1], true)], PROTOCOL_VIOLATION),
        ("a length that is too long", vec![(0, vec![0x0D, 0, 1, 0], false)], PROTOCOL_VIOLATION),
        ("an unknown stream type", vec![(6, vec![0x01], false)], PROTOCOL_VIOLATION),
        ("an odd request id", vec![(0, encoded(&status(1)), false)], INVALID_REQUEST_ID),
        (
            "a request id used twice",
            vec![(0, encoded(&status(4)), false), (4, encoded(&status(4)), false)],
            INVALID_REQUEST_ID,
        ),
        ("a GOAWAY that sends the server away", vec![(2, goaway("moqt://elsewhere", 1), false)], PROTOCOL_VIOLATION),
        ("a GOAWAY about the client's own request", vec![(2, goaway("", 2), false)], INVALID_REQUEST_ID),
        ("two GOAWAYs", vec![(2, goaway("", 1), false), (2, goaway("", 1), false)], PROTOCOL_VIOLATION),
        (
            "a token alias",
            vec![(0, with_token(AuthToken::Register { alias: 1, token_type: 0, value: "x".into() }), false)],
            AUTH_TOKEN_CACHE_OVERFLOW,
        ),
        (
            "an unknown token alias",
            vec![(0, with_token(AuthToken::UseAlias { alias: 9 }), false)],
            UNKNOWN_AUTH_TOKEN_ALIAS,
        ),
    ];
    for (index, (name, steps, code)) in cases.into_iter().enumerate() {
        let mut world = World::new(60 + index as u64);
        let rude = world.raw(Transport::Quic);
        world.setup(rude);
        for (stream, data, fin) in steps {
            world.net.inject(rude, stream, &data, fin);
        }
        assert_eq!(world.close_code(rude), Some(code), "{name}");
    }
}

#[test]
fn setup_options_that_are_not_allowed_have_their_codes() {
    let setup = |path: Option<&str>, authority: Option<&str>| {
        let (path, authority) = (path.map(str::to_owned), authority.map(str::to_owned));
        encoded(&ControlMessage::Setup(Setup { path, authority, ..Setup::default() }))
    };
    // Option 5 is shorter than its length says.
    let broken = vec![0xAF, 0x00, 0, 3, 5, 9, b'x'];
    let cases = [
        (Transport::WebTransport, setup(Some("/x"), None), INVALID_PATH),
        (Transport::WebTransport, setup(None, Some("host")), INVALID_AUTHORITY),
        (Transport::Quic, broken, KEY_VALUE_FORMATTING),
    ];
    for (transport, bytes, code) in cases {
        let mut world = World::new(90);
        let rude = world.raw(transport);
        world.net.inject(rude, 2, &bytes, false);
        assert_eq!(world.close_code(rude), Some(code), "{transport:?} {bytes:x?}");
    }
}

#[test]
fn requests_that_overtake_setup_are_served_after_it_and_their_bytes_are_bounded() {
    let mut world = World::new(91);
    let early = world.raw(Transport::Quic);
    world.net.inject(early, 0, &encoded(&status(0)), true);
    world.net.run(Duration::from_millis(50));
    assert_eq!(world.net.record(early).accepted(streams_relay_core::client::RequestId(0)), None);
    world.setup(early);
    world.net.run(Duration::from_millis(50));
    let down = &world.net.peers[early.0].down;
    assert!(down.closed.is_none() && down.bytes_written > 40, "{}", down.bytes_written);

    let flood = world.raw(Transport::Quic);
    for n in 0..40 {
        world.net.inject(flood, n * 4, &[0x03; 40_000], false);
    }
    assert_eq!(world.close_code(flood), Some(PROTOCOL_VIOLATION));
}

#[test]
fn an_oversized_object_closes_its_publisher_only() {
    let mut net =
        Net::new(sim::seed(92), Shards(1), RelayConfig { open: true, object_len_max: 1000, ..Default::default() });
    let name = track(sim::namespace(&["t"]), "t");
    let publisher = net.join(0, "/", Link::default());
    let published = net.client(publisher).publish(name.clone(), 3, None);
    net.run(Duration::from_millis(100));
    let viewer = net.join(0, "/", Link::default());
    let request = net.client(viewer).subscribe(SubscribeRequest::live(name));
    net.run(Duration::from_millis(100));
    let header = streams_relay_core::wire::SubgroupHeader {
        track_alias: 3,
        group: 0,
        subgroup: streams_relay_core::wire::SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: false,
        first_object: true,
    };
    net.client(publisher).open_subgroup(published, header);
    net.client(publisher).send_object(3, 0, 0, 0, &[], &payload(0, 0, 900));
    net.run(Duration::from_millis(100));
    net.client(publisher).send_object(3, 0, 0, 1, &[], &payload(0, 1, 1001));
    net.run(Duration::from_secs(1));
    assert_eq!(net.record(publisher).closed().unwrap().0, PROTOCOL_VIOLATION);
    assert_eq!(net.record(viewer).places(request), [(0, 0)]);
    assert_eq!(net.record(viewer).closed(), None);
    assert!(net.record(viewer).done(request).is_some());
}

#[test]
fn requests_beyond_the_limit_are_turned_away_and_counted() {
    let config = RelayConfig { open: true, requests_max: 8, ..RelayConfig::default() };
    let mut net = Net::new(sim::seed(93), Shards(1), config);
    let greedy = net.join(0, "/", Link::default());
    for n in 0..20 {
        net.client(greedy).watch_namespaces(sim::namespace(&[&format!("n{n}")]), None);
    }
    net.run(Duration::from_millis(200));
    assert_eq!(net.relays[0].counters().requests_refused, 12);
    assert_eq!(net.record(greedy).closed(), None);
}

#[test]
fn no_bytes_whatsoever_disturb_anybody_else() {
    let seed = sim::seed(94);
    let mut random = Random::new(seed);
    for round in 0..300 {
        let mut world = World::new(seed + round);
        let rude = world.raw(Transport::Quic);
        if random.below(4) > 0 {
            world.setup(rude);
        }
        for _ in 0..random.below(30) {
            let stream = random.below(6) * 4 + [0, 2][random.below(2) as usize];
            let mut data: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
            if random.below(2) == 0 {
                // Something that begins well.
                let begin = [0x03, 0x16, 0x0D, 0x1D, 0x06, 0x50, 0x51, 0x10, 0x14, 0x05][random.below(10) as usize];
                data.splice(0..0, [begin, 0, random.below(40) as u8]);
            }
            world.net.inject(rude, stream, &data, random.below(5) == 0);
            if random.below(6) == 0 {
                let (now, session) = (world.net.now, world.net.session(rude));
                let stream = streams_relay_core::relay::StreamId(stream);
                world.net.relays[0].stream_reset(now, session, stream, random.below(20));
                world.net.relays[0].stream_stopped(now, session, stream, random.below(20));
            }
        }
        world.close_code(rude);
    }
}
