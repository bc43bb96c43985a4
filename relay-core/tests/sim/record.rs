//! What a viewer saw, and the rules it is checked by.

use std::collections::BTreeSet;

use bytes::Bytes;
use streams_relay_core::client::{ClientEvent, ObjectReceived, RequestId};
use streams_relay_core::wire::{Location, ObjectStatus, PublishDoneCode, RequestErrorCode};

/// The payload that every object of a simulation has: its place, and then as many bytes as asked for.
pub fn payload(group: u64, object: u64, len: usize) -> Bytes {
    let mut bytes = format!("{group}/{object}:").into_bytes();
    bytes.resize(bytes.len().max(len), b'x');
    Bytes::from(bytes)
}

/// All events of one client, in order.
#[derive(Debug, Default)]
pub struct Record {
    pub events: Vec<ClientEvent>,
}

impl Record {
    /// Objects of a subscription or fetch, in the order they were delivered.
    pub fn objects(&self, request: RequestId) -> Vec<&ObjectReceived> {
        let objects = self.events.iter().filter_map(|event| match event {
            ClientEvent::Object(id, object) if *id == request => Some(object),
            _ => None,
        });
        objects.collect()
    }

    /// Places of those objects that are more than the mark of an end.
    pub fn places(&self, request: RequestId) -> Vec<(u64, u64)> {
        let objects = self.objects(request).into_iter().filter(|object| object.status == ObjectStatus::Normal);
        objects.map(|object| (object.group, object.object)).collect()
    }

    /// Groups that ended, and whether they were complete.
    pub fn groups(&self, request: RequestId) -> Vec<(u64, bool)> {
        let groups = self.events.iter().filter_map(|event| match event {
            ClientEvent::GroupEnd { request: id, group, complete } if *id == request => Some((*group, *complete)),
            _ => None,
        });
        groups.collect()
    }

    pub fn refusal(&self, request: RequestId) -> Option<RequestErrorCode> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Refused { request: id, code, .. } if *id == request => Some(*code),
            _ => None,
        })
    }

    pub fn accepted(&self, request: RequestId) -> Option<Option<Location>> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Accepted { request: id, largest, .. } if *id == request => Some(*largest),
            _ => None,
        })
    }

    pub fn done(&self, request: RequestId) -> Option<(PublishDoneCode, Option<u64>, u64)> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Done { request: id, code, stream_count, streams_seen } if *id == request => {
                Some((*code, *stream_count, *streams_seen))
            }
            _ => None,
        })
    }

    pub fn closed(&self) -> Option<(u64, &str)> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Closed { code, reason } => Some((*code, reason.as_str())),
            _ => None,
        })
    }

    /// Checks what holds for every subscription, whatever was lost: no object twice, groups and objects in order, payloads
    /// as published, and no hole inside a group that is called complete.
    pub fn check(&self, request: RequestId) {
        let mut seen = BTreeSet::new();
        let mut last = None;
        for object in self.objects(request) {
            let place = (object.group, object.object);
            assert!(seen.insert(place), "object {place:?} came twice");
            assert!(last < Some(place), "object {place:?} came after {last:?}");
            let begin = format!("{}/{}:", object.group, object.object);
            let mark = object.status == ObjectStatus::EndOfGroup && object.payload.is_empty();
            assert!(mark || object.payload.starts_with(begin.as_bytes()), "object {place:?} has another's payload");
            last = Some(place);
        }
        for (group, complete) in self.groups(request) {
            let ids: Vec<u64> = seen.range((group, 0)..=(group, u64::MAX)).map(|(_, object)| *object).collect();
            if let (true, Some(first), Some(last)) = (complete, ids.first(), ids.last()) {
                assert_eq!(ids.len() as u64, last - first + 1, "group {group} is complete with holes: {ids:?}");
            }
        }
    }
}
