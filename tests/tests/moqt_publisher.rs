//! A MoQT session that publishes an input is an encoder like any other: status, health, reconnect window, newest wins.

use streams_relay_core::client::{ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::wire::{FullTrackName, Namespace, PublishDoneCode, SubgroupHeader, SubgroupId};
use streams_tests::{Answer, Encoder, Film, Input, Moqt, Options, Stack, eventually};

const CATALOG: &str = r#"{"version":1,"live":true,"tracks":[
    {"name":"video/360p","kind":"video","codec":"avc1.42E01E","width":640,"height":360,"framerate":25.0,"timescale":90000}]}"#;

fn track(stack: &Stack, input: &Input, name: &str) -> FullTrackName {
    let urls = stack.urls(&input.id);
    let fields = urls.namespace.as_array().expect("a namespace").iter().filter_map(serde_json::Value::as_str);
    FullTrackName::new(Namespace::new(fields).expect("a short namespace"), name).expect("a short name")
}

/// A session that publishes a catalog and one video track of made-up bytes.
struct Publisher {
    moqt: Moqt,
    tracks: [RequestId; 2],
}

impl Publisher {
    fn start(stack: &Stack, input: &Input, group: u64) -> Self {
        let mut moqt = Moqt::connect(stack, &format!("/publish/{}?sk={}", input.id, input.key));
        let tracks = [".catalog", "video/360p"].map(|name| track(stack, input, name));
        let [catalog, video] = [0, 1].map(|alias| {
            let wanted = moqt.send(|client| client.publish(tracks[alias].clone(), alias as u64, None));
            let accepted = moqt.wait("PUBLISH is answered", |event| match event {
                ClientEvent::Accepted { request, .. } if *request == wanted => Some(true),
                ClientEvent::Refused { request, .. } if *request == wanted => Some(false),
                ClientEvent::Closed { .. } => Some(false),
                _ => None,
            });
            assert!(accepted, "{:?}", moqt.events);
            wanted
        });
        let mut publisher = Self { moqt, tracks: [catalog, video] };
        publisher.object(0, group, CATALOG.as_bytes());
        publisher.object(1, group, b"a frame");
        publisher
    }

    /// A group of one object.
    fn object(&mut self, alias: u64, group: u64, payload: &[u8]) {
        let request = self.tracks[usize::try_from(alias).expect("small")];
        self.moqt.send(|client| {
            let header = SubgroupHeader {
                track_alias: alias,
                group,
                subgroup: SubgroupId::Zero,
                priority: Some(128),
                properties: false,
                end_of_group: true,
                first_object: true,
            };
            client.open_subgroup(request, header);
            client.send_object(alias, group, 0, 0, &[], payload);
            client.end_subgroup(alias, group, 0);
            request
        });
    }

    fn finish(&mut self) {
        for request in self.tracks {
            self.moqt.send(|client| {
                client.publish_done(request, PublishDoneCode::TrackEnded, 1);
                request
            });
        }
    }
}

/// A viewer of the video.
struct Viewer {
    moqt: Moqt,
    video: RequestId,
}

impl Viewer {
    fn start(stack: &Stack, input: &Input) -> Self {
        let token = stack.urls(&input.id).token;
        let mut moqt = Moqt::connect(stack, &format!("/playback/{}?tok={token}", input.id));
        let name = track(stack, input, "video/360p");
        let video = moqt.send(|client| client.subscribe(SubscribeRequest::live(name)));
        Self { moqt, video }
    }

    fn sees(&mut self, wanted: u64) {
        let video = self.video;
        self.moqt.wait(&format!("group {wanted} comes"), |event| match event {
            ClientEvent::Object(request, object) if *request == video && object.group == wanted => Some(()),
            ClientEvent::Done { request, .. } if *request == video => panic!("the track ended before group {wanted}"),
            ClientEvent::Refused { request, reason, .. } if *request == video => panic!("refused: {reason}"),
            _ => None,
        });
    }
}

fn unix_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    u64::try_from(since.as_millis()).expect("64 bits")
}

/// The input as `streams live get` shows it.
fn shown(stack: &Stack, input: &Input) -> serde_json::Value {
    stack.json(&["live", "get", &input.id])
}

#[test]
fn a_moqt_publisher_has_status_and_health_and_its_viewers_wait_for_it_through_the_reconnect_window() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    assert_eq!(stack.status(&input), "idle");
    let first = unix_ms();
    let mut publisher = Publisher::start(&stack, &input, first);
    stack.wait_status(&input, "active");
    eventually("the catalog's track is shown", || shown(&stack, &input)["tracks"][0]["codec"] == "avc1.42E01E");
    assert_eq!(shown(&stack, &input)["protocol"], "moqt");
    let mut viewers: Vec<Viewer> = (0..4).map(|_| Viewer::start(&stack, &input)).collect();
    viewers.iter_mut().for_each(|viewer| viewer.sees(first));
    publisher.object(1, first + 1, b"another");
    viewers.iter_mut().for_each(|viewer| viewer.sees(first + 1));

    // It may come back on another shard each time: the engine hashes its new port.
    for round in 0..4 {
        drop(publisher);
        stack.wait_status(&input, "reconnecting");
        let again = unix_ms();
        publisher = Publisher::start(&stack, &input, again);
        stack.wait_status(&input, "active");
        viewers.iter_mut().for_each(|viewer| viewer.sees(again));
        println!("round {round}: the viewers go on");
    }

    publisher.finish();
    stack.wait_status(&input, "idle");
    for viewer in &mut viewers {
        let video = viewer.video;
        viewer.moqt.wait("the track ends", |event| {
            matches!(event, ClientEvent::Done { request, .. } if *request == video).then_some(())
        });
    }
}

#[test]
fn the_newest_publisher_of_an_input_wins_whatever_it_speaks() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let mut encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    assert_eq!(shown(&stack, &input)["protocol"], "rtmp");

    let first = unix_ms() + 10_000;
    let mut publisher = Publisher::start(&stack, &input, first);
    eventually("the MoQT session is the input's source", || shown(&stack, &input)["protocol"] == "moqt");
    eventually("the encoder was told to go", || encoder.ended().is_some());
    let mut viewer = Viewer::start(&stack, &input);
    viewer.sees(first);

    let _encoder = Encoder::push(&input, Film::Gop2s);
    eventually("the encoder is the input's source", || shown(&stack, &input)["protocol"] == "rtmp");
    let told = publisher.moqt.wait("the session is closed", |event| match event {
        ClientEvent::Closed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(told.contains("the newest wins"), "{told}");
    stack.wait_status(&input, "active");
}

#[test]
fn a_disabled_input_ends_a_moqt_broadcast_and_refuses_its_publisher() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("camera");
    let mut publisher = Publisher::start(&stack, &input, unix_ms());
    stack.wait_status(&input, "active");
    assert!(stack.cli(&["live", "disable", &input.id]).status.success());
    publisher.moqt.wait("the session is closed", |event| matches!(event, ClientEvent::Closed { .. }).then_some(()));
    stack.wait_status(&input, "disabled");
    let mut refused = Moqt::connect(&stack, &format!("/publish/{}?sk={}", input.id, input.key));
    let answer = refused.ask(|client| client.publish(track(&stack, &input, "video/360p"), 0, None));
    assert!(matches!(answer, Answer::Closed(..)), "{answer:?}");
    assert!(stack.cli(&["live", "enable", &input.id]).status.success());
    stack.wait_status(&input, "idle");
    let _publisher = Publisher::start(&stack, &input, unix_ms());
    stack.wait_status(&input, "active");
}
