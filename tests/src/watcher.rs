//! Somebody who watches the video of a broadcast and notices each object that is missing.

use std::collections::BTreeMap;

use streams_media::MediaKind;
use streams_media::catalog::Catalog;
use streams_media::fmp4::{Chunk, SampleDefaults};
use streams_relay_core::client::{ClientEvent, RequestId, SubscribeRequest};
use streams_relay_core::wire::{FullTrackName, Namespace, ObjectStatus};

use crate::{Input, Moqt, Stack};

/// A native session with a subscription to a broadcast's video.
pub struct Watcher {
    /// The session.
    pub moqt: Moqt,
    video: RequestId,
}

impl Watcher {
    /// Connects, reads the catalog and subscribes to the first video track in it.
    pub fn start(stack: &Stack, input: &Input) -> Self {
        let urls = stack.urls(&input.id);
        let names = urls.namespace.as_array().expect("a namespace").iter().filter_map(serde_json::Value::as_str);
        let namespace = Namespace::new(names).expect("a short namespace");
        let track = |name: &str| FullTrackName::new(namespace.clone(), name).expect("a short name");
        let mut moqt = Moqt::connect(stack, &format!("/playback/{}?tok={}", input.id, urls.token));
        moqt.send(|client| client.subscribe(SubscribeRequest::live(track(".catalog"))));
        let catalog = moqt.wait("the catalog", |event| match event {
            ClientEvent::Object(_, object) => Catalog::from_json(&object.payload).ok(),
            _ => None,
        });
        let video = catalog.tracks.iter().find(|track| track.kind == MediaKind::Video);
        let video = track(&video.expect("a video track").name);
        let video = moqt.send(|client| client.subscribe(SubscribeRequest::live(video)));
        Self { moqt, video }
    }

    /// Waits for so many further objects of the video.
    pub fn objects(&mut self, count: usize) {
        let video = self.video;
        let seen = |events: &[ClientEvent]| events.iter().filter(|event| is_object(event, video)).count();
        let wanted = seen(&self.moqt.events) + count;
        self.moqt.read_until("media goes on", |events| (seen(events) >= wanted).then_some(()));
    }

    /// Checks that no frame is missing since the first: the objects of a group follow each other from 0, no group was given up
    /// (but the one in which it joined, whose end it may not have been told), and the frames' times go on from group to group.
    /// Gives the number of groups.
    pub fn nothing_missing(&self) -> usize {
        let mut groups: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for event in &self.moqt.events {
            match event {
                ClientEvent::Object(request, object)
                    if *request == self.video && object.status == ObjectStatus::Normal =>
                {
                    let chunk = Chunk::parse(&object.payload, SampleDefaults::default()).expect("a chunk");
                    groups.entry(object.group).or_default().push((object.object, chunk.decode_time));
                }
                ClientEvent::GroupEnd { request, group, complete } if *request == self.video => {
                    let joined = groups.keys().next() == Some(group);
                    assert!(*complete || joined, "group {group} was given up");
                }
                ClientEvent::Closed { .. } | ClientEvent::Done { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        for (group, objects) in &groups {
            let numbers = objects.iter().map(|(object, _)| *object);
            assert!(numbers.eq(0..objects.len() as u64), "group {group}: {objects:?}");
        }
        let times: Vec<u64> = groups.values().flatten().map(|(_, time)| *time).collect();
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let frame = steps.clone().min().expect("two frames");
        // Where the film begins anew a step may be a little longer; a frame that is missing makes one of two.
        let worst = steps.max().expect("two frames");
        assert!(frame > 0 && worst < 2 * frame, "a step of {worst} where a frame takes {frame}");
        groups.len()
    }
}

fn is_object(event: &ClientEvent, video: RequestId) -> bool {
    matches!(event, ClientEvent::Object(request, _) if *request == video)
}
