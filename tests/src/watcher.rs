//! Somebody who watches the video of a broadcast and notices each object that is missing.

use std::collections::BTreeMap;

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
            ClientEvent::Object(_, object) => serde_json::from_slice::<serde_json::Value>(&object.payload).ok(),
            _ => None,
        });
        let tracks = catalog["tracks"].as_array().expect("tracks");
        let name = tracks.iter().filter_map(|track| track["name"].as_str());
        let name = name.filter(|name| name.starts_with("video/") && !name.ends_with(".init")).next();
        let video = track(name.expect("a video track"));
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

    /// Checks that no object is missing in any group but the one that is still open, and no group between others; gives the
    /// number of groups.
    pub fn nothing_missing(&self) -> usize {
        let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for event in &self.moqt.events {
            match event {
                ClientEvent::Object(request, object)
                    if *request == self.video && object.status == ObjectStatus::Normal =>
                {
                    groups.entry(object.group).or_default().push(object.object);
                }
                ClientEvent::GroupEnd { request, group, complete } if *request == self.video => {
                    assert!(complete, "group {group} was given up");
                }
                ClientEvent::Closed { .. } | ClientEvent::Done { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        let mut before: Option<(u64, usize)> = None;
        let open = groups.keys().next_back().copied();
        for (group, objects) in &groups {
            let expected: Vec<u64> = (0..objects.len() as u64).collect();
            assert_eq!(*objects, expected, "the objects of group {group}");
            if let Some((earlier, len)) = before.replace((*group, objects.len())) {
                assert_eq!(*group, earlier + 1, "a group is missing");
                assert!(Some(*group) == open || objects.len() == len, "group {group}: {} objects", objects.len());
            }
        }
        groups.len()
    }
}

fn is_object(event: &ClientEvent, video: RequestId) -> bool {
    matches!(event, ClientEvent::Object(request, _) if *request == video)
}
