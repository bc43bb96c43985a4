//! An encoder as the source of a broadcast: access units in, tracks of the relay out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use streams_contract::InputEntry;
use streams_ingest::{Normaliser, NormaliserConfig, Output, Packager, PackagerConfig, StreamMetadata};
use streams_media::AccessUnit;
use streams_media::catalog::{CATALOG_TRACK, Catalog, MSF_CATALOG_TRACK};
use streams_relay_core::relay::{FullTrackName, Namespace, PublishDone, TrackConfig, TrackId};
use tracing::warn;

use super::inputs::InputContext;
use super::source::namespace_of;

/// Names of tracks are shared by all their objects.
type TrackName = Arc<str>;

/// Normaliser, packager and open tracks of one input.
pub(super) struct EncoderSource {
    namespace: Namespace,
    normaliser: Normaliser,
    packager: Packager,
    tracks: HashMap<TrackName, TrackId>,
    catalog: Option<Catalog>,
}

impl EncoderSource {
    /// Announces the namespace, here and to the other shards.
    pub(super) fn start(context: &mut InputContext<'_>, entry: &InputEntry, first_group_min: u64) -> Self {
        let namespace = namespace_of(entry);
        // A group that is open and the one before it fit the relay's cache together.
        let group_len_max = context.relay.config().cache_track_len_max / 2;
        context.relay.namespace_up(context.now, namespace.clone());
        if !context.announced.announce(&namespace) {
            warn!(
                input = entry.id,
                "the shard's track directory is full: viewers on other shards find this input when there is room again"
            );
        }
        Self {
            namespace,
            normaliser: Normaliser::new(NormaliserConfig::default()),
            packager: Packager::new(PackagerConfig { first_group_min, group_len_max }),
            tracks: HashMap::new(),
            catalog: None,
        }
    }

    /// A new connection of the encoder: timeline and group ids go on.
    pub(super) fn reconnect(&mut self, context: &mut InputContext<'_>) {
        self.normaliser.reconnect();
        self.packager.reconnect();
        self.publish(context);
    }

    /// The encoder is away: what is half done goes out, the tracks stay open.
    pub(super) fn pause(&mut self, context: &mut InputContext<'_>) {
        self.packager.finish();
        self.publish(context);
    }

    /// The encoder's hints.
    pub(super) fn metadata(&mut self, metadata: &StreamMetadata) {
        self.packager.metadata(metadata);
    }

    /// One access unit. True when the catalog changed.
    pub(super) fn unit(&mut self, context: &mut InputContext<'_>, unit: AccessUnit) -> bool {
        // A unit that the normaliser drops is counted there; the next one may be fine.
        if let Ok(unit) = self.normaliser.push(context.unix_ms, unit) {
            self.packager.push(context.unix_ms, unit);
        }
        self.publish(context)
    }

    /// Lets the packager act on time that passed without media. True when the catalog changed.
    pub(super) fn tick(&mut self, context: &mut InputContext<'_>) -> bool {
        self.publish(context)
    }

    /// Another source begins: it may take the tracks over, which say nothing more from here.
    pub(super) fn give_up(&mut self, context: &mut InputContext<'_>) {
        self.packager.finish();
        self.publish(context);
        context.relay.hold_local(&self.namespace);
    }

    /// Ends every track and withdraws the namespace.
    pub(super) fn end(&mut self, context: &mut InputContext<'_>) {
        self.packager.finish();
        self.publish(context);
        for track in std::mem::take(&mut self.tracks).into_values() {
            context.relay.track_end(context.now, track, PublishDone::TrackEnded);
        }
        context.relay.namespace_down(context.now, self.namespace.clone());
        context.announced.withdraw(&self.namespace);
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Viewers can find the tracks once there is one.
    pub(super) fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    /// How long video has come without a picture that a viewer could start at.
    pub(super) fn without_start_ms(&self) -> u64 {
        self.packager.without_start_ms()
    }

    /// Access units that the normaliser dropped.
    pub(super) fn units_dropped(&self) -> u64 {
        self.normaliser.counters().dropped
    }

    /// The highest group id used.
    pub(super) fn last_group(&self) -> Option<u64> {
        self.packager.last_group()
    }

    /// Carries out what the packager made. True when the catalog changed.
    fn publish(&mut self, context: &mut InputContext<'_>) -> bool {
        let mut catalog_changed = false;
        while let Some(output) = self.packager.poll_output() {
            match output {
                Output::Track { name, priority, pinned } => self.open(context, name, priority, pinned),
                Output::Init { track, group, payload } => self.object(context, &track, (group, 0), payload, true),
                Output::Object { track, group, object, payload, end_of_group } => {
                    self.object(context, &track, (group, object), payload, end_of_group);
                }
                Output::GroupEnd { track, group } => {
                    if let Some(id) = self.tracks.get(&track) {
                        context.relay.group_end(context.now, *id, group);
                    }
                }
                Output::Catalog { group, catalog, json, msf_json } => {
                    catalog_changed = true;
                    self.object(context, CATALOG_TRACK, (group, 0), json, true);
                    self.object(context, MSF_CATALOG_TRACK, (group, 0), msf_json, true);
                    self.catalog = Some(catalog);
                }
                Output::Refused { reason } => warn!(reason, "an access unit could not be packaged"),
            }
        }
        catalog_changed
    }

    fn open(&mut self, context: &mut InputContext<'_>, name: TrackName, publisher_priority: u8, pinned: bool) {
        let full = FullTrackName { namespace: self.namespace.clone(), name: Bytes::copy_from_slice(name.as_bytes()) };
        let id = context.relay.track_open(context.now, full, TrackConfig { publisher_priority, pinned });
        self.tracks.insert(name, id);
    }

    fn object(&self, context: &mut InputContext<'_>, track: &str, location: (u64, u64), payload: Bytes, end: bool) {
        if let Some(id) = self.tracks.get(track) {
            context.relay.object(context.now, *id, location.0, location.1, payload, end);
        }
    }
}
