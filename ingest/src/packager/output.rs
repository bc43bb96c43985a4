//! What a packager gives out, counts, and starts with.

use std::sync::Arc;

use bytes::Bytes;
use streams_media::catalog::Catalog;

/// Publisher priorities, 0 is highest: a player needs the catalog and the init segment before any media, and misses sound
/// sooner than a picture.
pub const PRIORITY_CATALOG: u8 = 0;
/// See [`PRIORITY_CATALOG`].
pub const PRIORITY_INIT: u8 = 0;
/// See [`PRIORITY_CATALOG`].
pub const PRIORITY_AUDIO: u8 = 64;
/// See [`PRIORITY_CATALOG`].
pub const PRIORITY_VIDEO: u8 = 128;

/// What a packager starts with.
#[derive(Debug, Clone)]
pub struct PackagerConfig {
    /// No group id below this is used: one more than the last id of the input's earlier life, 0 when there was none.
    pub first_group_min: u64,
    /// Payload bytes of a video group. A GOP that is longer goes on in another group, so that a cache of twice the size keeps
    /// where viewers are.
    pub group_len_max: usize,
}

impl Default for PackagerConfig {
    fn default() -> Self {
        Self { first_group_min: 0, group_len_max: 16 * 1024 * 1024 }
    }
}

/// What the packager did, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackagerCounters {
    /// Video frames packaged.
    pub video_frames: u64,
    /// Audio frames packaged.
    pub audio_frames: u64,
    /// Groups begun (the audio of a video group is not counted again).
    pub groups: u64,
    /// Groups begun in the middle of a GOP because the one before became too long.
    pub groups_in_gop: u64,
    /// Video frames dropped because nothing to start at had come since the start, a reconnect or a new sequence header.
    pub waiting_for_start: u64,
    /// Audio frames dropped because they lie before the first start of the video.
    pub before_first_start: u64,
    /// Audio frames dropped because the count of samples ran ahead of the encoder's clock.
    pub audio_ahead: u64,
    /// Times the count of samples was moved on to the encoder's clock.
    pub audio_anchored: u64,
    /// Init segments written.
    pub inits: u64,
    /// Catalogs published.
    pub catalogs: u64,
    /// Units that could not be written.
    pub refused: u64,
}

/// What [`Packager::poll_output`](super::Packager::poll_output) gives, to be carried out in order.
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
