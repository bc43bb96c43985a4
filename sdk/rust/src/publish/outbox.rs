//! What a packager gives, on its way into one session after the other.
//!
//! A session has a life of its own for each track: it is offered, accepted, and gets the newest catalog and init segment at once and
//! pictures and sound from the start of a group on. What stands in between waits: the tracks' first objects do not come before
//! the server has taken them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use streams_ingest::Output;
use streams_media::catalog::{CATALOG_TRACK, MSF_CATALOG_TRACK};
use streams_relay_core::client::{self as machine, RequestId};
use streams_relay_core::wire::{
    FullTrackName, Namespace, PublishDoneCode, StreamResetCode, SubgroupHeader, SubgroupId,
};

use crate::ClientError;

/// Bytes that may wait for the link: beyond, whole groups are left out. Two seconds at 16 Mbit/s.
const BACKLOG_LEN_MAX: usize = 4 << 20;

/// Tracks and what was not taken by the session yet.
#[derive(Default)]
pub(super) struct Outbox {
    tracks: Vec<Track>,
    waiting: VecDeque<Output>,
    pub(super) sent: Sent,
}

/// What went out so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sent {
    pub(super) objects: u64,
    pub(super) payload_len: u64,
    pub(super) groups: u64,
    pub(super) dropped_groups: u64,
}

struct Track {
    name: Arc<str>,
    priority: u8,
    /// The newest object that every session begins with, and its group.
    pinned: Option<(u64, Bytes)>,
    /// In the session that there is now.
    offered: Option<Offered>,
}

struct Offered {
    request: RequestId,
    accepted: bool,
    /// The group whose stream is open.
    group: Option<u64>,
    streams: u64,
}

impl Outbox {
    /// What the packager gave next.
    pub(super) fn push(&mut self, output: Output) {
        self.waiting.push_back(output);
    }

    /// Everything was handed to the session.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A new session begins: every track is offered again.
    pub(super) fn begin(&mut self, client: &mut machine::Client, namespace: &Namespace) -> Result<(), ClientError> {
        for (alias, track) in (0u64..).zip(&mut self.tracks) {
            track.offer(client, namespace, alias)?;
        }
        Ok(())
    }

    /// The server took a track, or another request of ours that is none.
    pub(super) fn accepted(&mut self, client: &mut machine::Client, request: RequestId) {
        let mut all = (0u64..).zip(&mut self.tracks);
        let found = all.find(|(_, track)| track.offered.as_ref().is_some_and(|offered| offered.request == request));
        let Some((alias, track)) = found else { return };
        if let Some(offered) = &mut track.offered {
            offered.accepted = true;
        }
        if let Some((group, payload)) = track.pinned.clone() {
            track.whole_group(client, alias, group, &payload);
        }
    }

    /// Hands on what can be handed on now.
    ///
    /// # Errors
    /// A track's name that MoQT cannot carry.
    pub(super) fn flush(&mut self, client: &mut machine::Client, namespace: &Namespace) -> Result<(), ClientError> {
        while let Some(output) = self.waiting.front() {
            if let Output::Track { name, priority, .. } = output {
                let alias = self.tracks.len() as u64;
                let mut track = Track { name: name.clone(), priority: *priority, pinned: None, offered: None };
                track.offer(client, namespace, alias)?;
                self.tracks.push(track);
            } else if self.tracks.iter().any(|track| !track.is_accepted()) {
                return Ok(());
            }
            if let Some(output) = self.waiting.pop_front() {
                self.hand_on(client, output);
            }
        }
        Ok(())
    }

    fn hand_on(&mut self, client: &mut machine::Client, output: Output) {
        match output {
            Output::Init { track, group, payload } => self.pin(client, &track, group, payload),
            Output::Catalog { group, json, msf_json, .. } => {
                self.pin(client, CATALOG_TRACK, group, json);
                self.pin(client, MSF_CATALOG_TRACK, group, msf_json);
            }
            Output::Object { track, group, object, payload, end_of_group } => {
                self.object(client, &track, (group, object), &payload, end_of_group);
            }
            Output::GroupEnd { track, group } => {
                if let Some((alias, track)) = self.track(&track) {
                    track.end_group(client, alias, group);
                }
            }
            Output::Track { .. } => {}
            Output::Refused { reason } => tracing::warn!(reason, "a unit was left out"),
        }
    }

    fn pin(&mut self, client: &mut machine::Client, name: &str, group: u64, payload: Bytes) {
        if let Some((alias, track)) = self.track(name) {
            track.whole_group(client, alias, group, &payload);
            track.pinned = Some((group, payload));
        }
    }

    fn object(
        &mut self,
        client: &mut machine::Client,
        name: &str,
        (group, object): (u64, u64),
        payload: &[u8],
        end_of_group: bool,
    ) {
        let crowded = object == 0 && client.backlog_len() > BACKLOG_LEN_MAX;
        let Some((alias, track)) = self.track(name) else { return };
        let Some(offered) = &mut track.offered else { return };
        let mut dropped = 0;
        if object == 0 {
            if crowded {
                // The newest group is worth more than what could not leave yet.
                dropped = client.drop_backlog(alias, StreamResetCode::DeliveryTimeout.to_u64()) as u64;
            }
            offered.group = Some(group);
            offered.streams = offered.streams.saturating_add(1);
            client.open_subgroup(offered.request, header(alias, group, track.priority));
        } else if offered.group != Some(group) {
            // Its beginning went to another session.
            return;
        }
        client.send_object(alias, group, 0, object, &[], payload);
        if end_of_group {
            track.end_group(client, alias, group);
        }
        self.sent.objects = self.sent.objects.saturating_add(1);
        self.sent.payload_len = self.sent.payload_len.saturating_add(payload.len() as u64);
        self.sent.groups = self.sent.groups.saturating_add(u64::from(object == 0));
        self.sent.dropped_groups = self.sent.dropped_groups.saturating_add(dropped);
    }

    /// The broadcast is over: says so of every track.
    pub(super) fn finish(&mut self, client: &mut machine::Client) {
        for offered in self.tracks.iter_mut().filter_map(|track| track.offered.take()) {
            client.publish_done(offered.request, PublishDoneCode::TrackEnded, offered.streams);
        }
    }

    fn track(&mut self, name: &str) -> Option<(u64, &mut Track)> {
        (0u64..).zip(&mut self.tracks).find(|(_, track)| &*track.name == name)
    }
}

impl Track {
    fn is_accepted(&self) -> bool {
        self.offered.as_ref().is_some_and(|offered| offered.accepted)
    }

    fn offer(&mut self, client: &mut machine::Client, namespace: &Namespace, alias: u64) -> Result<(), ClientError> {
        let name = FullTrackName::new(namespace.clone(), &*self.name).map_err(ClientError::failed)?;
        let request = client.publish(name, alias, None);
        self.offered = Some(Offered { request, accepted: false, group: None, streams: 0 });
        Ok(())
    }

    /// A group of one object.
    fn whole_group(&mut self, client: &mut machine::Client, alias: u64, group: u64, payload: &[u8]) {
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.accepted) else { return };
        offered.streams = offered.streams.saturating_add(1);
        client.open_subgroup(offered.request, header(alias, group, self.priority));
        client.send_object(alias, group, 0, 0, &[], payload);
        client.end_subgroup(alias, group, 0);
    }

    fn end_group(&mut self, client: &mut machine::Client, alias: u64, group: u64) {
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.group == Some(group)) else { return };
        offered.group = None;
        client.end_subgroup(alias, group, 0);
    }
}

/// One subgroup stream a group.
fn header(alias: u64, group: u64, priority: u8) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(priority),
        properties: false,
        end_of_group: true,
        first_object: true,
    }
}
