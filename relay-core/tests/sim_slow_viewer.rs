//! A viewer that is too slow skips ahead; nobody else notices.

mod sim;

use std::time::Duration;

use sim::{ClientId, Link, Net, Shards, live, payload, token, track};
use streams_relay_core::client::{ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::relay::{RelayConfig, TrackConfig, TrackId};
use streams_relay_core::wire::StreamResetCode;

/// 20 objects a second of 10 kB: 200 kB/s; groups of one second.
const OBJECT_LEN: usize = 10_000;

struct Broadcast {
    net: Net,
    video: TrackId,
    audio: TrackId,
    sent: u64,
}

impl Broadcast {
    fn new(seed: u64, config: RelayConfig) -> Self {
        Self::with_priorities(seed, config, 100, 50)
    }

    fn with_priorities(seed: u64, config: RelayConfig, video: u8, audio: u8) -> Self {
        let mut net = Net::new(sim::seed(seed), Shards(1), config);
        net.namespace_up(0, live());
        let mut open = |name, publisher_priority| {
            net.relays[0].track_open(net.now, track(live(), name), TrackConfig { publisher_priority, pinned: false })
        };
        let (video, audio) = (open("video/720p", video), open("audio", audio));
        Self { net, video, audio, sent: 0 }
    }

    fn viewer(&mut self, link: Link) -> (ClientId, RequestId, RequestId) {
        let viewer = self.net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 3600)), link);
        let client = self.net.client(viewer);
        let video = client.subscribe(SubscribeRequest::live(track(live(), "video/720p")));
        let audio = client.subscribe(SubscribeRequest::live(track(live(), "audio")));
        (viewer, video, audio)
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            let (group, object, now) = (100 + self.sent / 20, self.sent % 20, self.net.now);
            let relay = &mut self.net.relays[0];
            relay.object(now, self.video, group, object, payload(group, object, OBJECT_LEN), object == 19);
            relay.object(now, self.audio, group, object, payload(group, object, 200), object == 19);
            self.sent += 1;
            self.net.run(Duration::from_millis(50));
        }
    }
}

fn slow(rate: u64) -> Link {
    Link { rate: Some(rate), ..Link::default() }
}

#[test]
fn a_slow_viewer_jumps_to_the_newest_group_and_others_are_unharmed() {
    let mut broadcast = Broadcast::new(30, RelayConfig::default());
    broadcast.run(1);
    let (fast, fast_video, _) = broadcast.viewer(Link::default());
    let (slow, slow_video, slow_audio) = broadcast.viewer(slow(100_000));
    broadcast.run(30);
    broadcast.net.run(Duration::from_secs(2));
    let record = broadcast.net.record(fast);
    record.check(fast_video);
    let fast_places = record.places(fast_video);
    let expected: Vec<(u64, u64)> = (20..31 * 20).map(|n| (100 + n / 20, n % 20)).collect();
    assert!(fast_places == expected, "{} objects from {:?} on", fast_places.len(), fast_places.first());
    assert!(record.groups(fast_video).iter().all(|(_, complete)| *complete));

    let record = broadcast.net.record(slow);
    record.check(slow_video);
    record.check(slow_audio);
    let groups = record.groups(slow_video);
    assert!(groups.iter().any(|(_, complete)| !complete), "it was cut somewhere: {groups:?}");
    let newest = record.places(slow_video).last().unwrap().0;
    assert!(newest >= 127, "it stays near the live edge: {newest}");
    assert!(record.places(slow_audio) == expected, "audio is whole: {}", record.places(slow_audio).len());
    let timeout = StreamResetCode::DeliveryTimeout.to_u64();
    let behind = StreamResetCode::TooFarBehind.to_u64();
    let resets = &broadcast.net.peers[slow.0].down.resets;
    assert!(!resets.is_empty() && resets.iter().all(|code| [timeout, behind].contains(code)), "{resets:?}");
    assert_eq!(record.closed(), None);
}

#[test]
fn a_stalled_viewer_costs_a_bounded_amount_and_catches_up_at_once() {
    let config = RelayConfig { cache_track_len_max: 1_000_000, ..RelayConfig::default() };
    let mut broadcast = Broadcast::new(31, config);
    broadcast.run(1);
    let (stalled, video, _) = broadcast.viewer(Link::default());
    broadcast.net.run(Duration::from_millis(200));
    broadcast.net.peers[stalled.0].down.link.rate = Some(0);
    broadcast.run(20);
    assert!(broadcast.net.relays[0].cache_len() < 2_000_000, "{}", broadcast.net.relays[0].cache_len());
    broadcast.net.peers[stalled.0].down.link.rate = None;
    broadcast.run(3);
    broadcast.net.run(Duration::from_secs(2));
    let record = broadcast.net.record(stalled);
    record.check(video);
    let complete: Vec<u64> = record.groups(video).iter().filter(|(_, c)| *c).map(|(group, _)| *group).collect();
    assert!(complete.contains(&122) && complete.contains(&123), "{complete:?}");
}

#[test]
fn audio_and_video_of_equal_priority_share_a_narrow_link() {
    let mut broadcast = Broadcast::with_priorities(32, RelayConfig::default(), 100, 100);
    broadcast.run(1);
    let (viewer, video, audio) = broadcast.viewer(slow(60_000));
    broadcast.run(20);
    let record = broadcast.net.record(viewer);
    record.check(video);
    record.check(audio);
    assert_eq!(record.places(audio).len(), 400, "audio gets its turns: {}", record.places(audio).len());
    assert!(record.places(video).len() > 50, "video gets its turns: {}", record.places(video).len());
}

#[test]
fn the_subscriber_may_ask_for_a_shorter_delivery_timeout() {
    let mut broadcast = Broadcast::new(33, RelayConfig { delivery_timeout: Duration::ZERO, ..RelayConfig::default() });
    broadcast.run(1);
    let viewer = broadcast.net.join(0, &format!("/playback/lv_1?tok={}", token("lv_1", 3600)), slow(100_000));
    let wanted = SubscribeRequest::live(track(live(), "video/720p"));
    let delivery_timeout = Some(Duration::from_millis(500));
    let request = broadcast.net.client(viewer).subscribe(SubscribeRequest { delivery_timeout, ..wanted });
    broadcast.run(10);
    broadcast.net.record(viewer).check(request);
    let resets = &broadcast.net.peers[viewer.0].down.resets;
    assert!(resets.contains(&StreamResetCode::DeliveryTimeout.to_u64()), "{resets:?}");
}

#[test]
fn streams_wait_for_the_peers_limit() {
    let mut broadcast = Broadcast::new(34, RelayConfig { delivery_timeout: Duration::ZERO, ..RelayConfig::default() });
    broadcast.run(1);
    // The control stream, the two joining fetches, and one group of each track.
    let (viewer, video, _) = broadcast.viewer(Link { uni_max: 5, ..Link::default() });
    broadcast.run(4);
    let seen = broadcast.net.record(viewer).places(video).len();
    broadcast.net.peers[viewer.0].down.link.uni_max = u64::MAX;
    broadcast.run(1);
    broadcast.net.run(Duration::from_secs(2));
    let record = broadcast.net.record(viewer);
    record.check(video);
    assert!(seen < 60, "{seen}");
    assert!(record.places(video).len() >= 100, "nothing is lost by waiting: {}", record.places(video).len());
    assert!(!broadcast.net.saw(viewer, |event| matches!(event, ClientEvent::Closed { .. })));
}
