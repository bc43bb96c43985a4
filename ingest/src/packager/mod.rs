//! Access units in broadcast time to CMAF tracks: groups, objects, init segments and the catalog.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use streams_relay_core::catalog::Catalog;

use crate::{AccessUnit, StreamMetadata};

/// What a packager starts with.
#[derive(Debug, Clone, Default)]
pub struct PackagerConfig {
    /// No group id below this is used: one more than the last id of the input's earlier life, 0 when there was none.
    pub first_group_min: u64,
}

/// What the packager did, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackagerCounters {
    /// Video frames packaged.
    pub video_frames: u64,
    /// Audio frames packaged.
    pub audio_frames: u64,
}

/// What [`Packager::poll_output`] gives, to be carried out in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// A track begins; comes once for each name, before anything else of it.
    Track {
        /// Track name.
        name: Arc<str>,
        /// Publisher priority, 0 is highest.
        priority: u8,
        /// The newest object must always be kept (`.catalog`, `catalog`, `*.init`).
        pinned: bool,
    },
    /// An init segment (`ftyp` + `moov`): object 0 of a group of its own that ends with it.
    Init {
        /// Track name, `<rendition>.init`.
        track: Arc<str>,
        /// The first media group it applies to.
        group: u64,
        /// The segment.
        payload: Bytes,
    },
    /// One object of a media track (`moof` + `mdat`).
    Object {
        /// Track name.
        track: Arc<str>,
        /// Group id.
        group: u64,
        /// Object id, from 0 without a gap.
        object: u64,
        /// The chunk.
        payload: Bytes,
        /// True when it is known that the group ends with this object; otherwise [`Output::GroupEnd`] tells later.
        end_of_group: bool,
    },
    /// No object follows in this group.
    GroupEnd {
        /// Track name.
        track: Arc<str>,
        /// Group id.
        group: u64,
    },
    /// A new full catalog: object 0 of group `group` of `.catalog` and of `catalog`, ending the group.
    Catalog {
        /// Group id on both tracks.
        group: u64,
        /// The model.
        catalog: Catalog,
        /// Payload for `.catalog`.
        json: Bytes,
        /// Payload for `catalog` (MSF).
        msf_json: Bytes,
    },
    /// A unit could not be packaged; the broadcast goes on.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Packages one broadcast, over all connections of its encoder.
#[derive(Debug)]
pub struct Packager {
    config: PackagerConfig,
    outputs: VecDeque<Output>,
}

impl Packager {
    /// A packager with no track yet.
    pub fn new(config: PackagerConfig) -> Self {
        Self { config, outputs: VecDeque::new() }
    }

    /// Takes the encoder's hints: which kinds of media to expect, frame rate and bitrates for the catalog.
    pub fn metadata(&mut self, metadata: &StreamMetadata) {
        let _ = (metadata, &self.config);
    }

    /// Packages one normalised unit that arrived at `unix_ms`. Poll the outputs afterwards.
    pub fn push(&mut self, unix_ms: u64, unit: AccessUnit) {
        let _ = (unix_ms, unit);
    }

    /// A new connection of the encoder: open chunks and groups are closed, the next group starts at its first IDR. Group ids and
    /// media time go on.
    pub fn reconnect(&mut self) {}

    /// The broadcast ended: flushes the open audio chunk and ends the open groups.
    pub fn finish(&mut self) {}

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The highest group id used so far, to be kept over restarts of the engine.
    pub fn last_group(&self) -> Option<u64> {
        None
    }

    /// What was done so far.
    pub fn counters(&self) -> PackagerCounters {
        PackagerCounters::default()
    }
}
