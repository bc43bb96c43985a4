//! The list of tracks of one broadcast, which a viewer reads before anything else.
//!
//! One model, two documents: [`Catalog::to_json`] is the `.catalog` track (and `catalog.json` of an asset),
//! [`Catalog::to_msf_json`] is the `catalog` track for MSF players with CMAF packaging. Both carry the same init segments.

mod json;
mod msf;

use bytes::Bytes;

use crate::MediaKind;

/// Name of the track that carries [`Catalog::to_json`]; a new full catalog is a new group with one object.
pub const CATALOG_TRACK: &str = ".catalog";
/// Name of the track that carries [`Catalog::to_msf_json`] (MSF: "track name exactly `catalog`").
pub const MSF_CATALOG_TRACK: &str = "catalog";

/// One playable track.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogTrack {
    /// Track name inside the broadcast's namespace, fixed for the broadcast's life: `video/<height>p` or `audio`.
    pub name: String,
    /// Video or audio.
    pub kind: MediaKind,
    /// RFC 6381 codec string, for example `avc1.4D401F` or `mp4a.40.2`.
    pub codec: String,
    /// Picture width in luma samples (video).
    pub width: Option<u32>,
    /// Picture height in luma samples (video).
    pub height: Option<u32>,
    /// Nominal frames a second (video), when the source tells it.
    pub framerate: Option<f64>,
    /// Output samples a second (audio); with explicit SBR this is twice the timescale.
    pub sample_rate: Option<u32>,
    /// Channels after decoding (audio).
    pub channels: Option<u32>,
    /// Bits a second, from the source's metadata or measured; absent until one of them is known.
    pub bitrate: Option<u64>,
    /// Ticks a second of every `tfdt` and sample duration in the track.
    pub timescale: Option<u32>,
    /// The init segment (`ftyp` + `moov`).
    pub init: Option<Bytes>,
    /// Track whose groups hold init segments, one object each: `<name>.init`.
    pub init_track: Option<String>,
    /// First media group that [`CatalogTrack::init`] applies to; also the group id of that init in `init_track`.
    pub init_group: Option<u64>,
    /// Tracks with the same number are renditions of one another: their equal group ids mean equal media time.
    pub alt_group: Option<u32>,
}

/// The tracks of one broadcast or asset.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// True while the broadcast goes on.
    pub live: bool,
    /// Video first, then audio.
    pub tracks: Vec<CatalogTrack>,
}

impl Catalog {
    /// A catalog of a broadcast that is going on.
    pub fn live(tracks: Vec<CatalogTrack>) -> Self {
        Self { live: true, tracks }
    }

    /// The track of that name.
    pub fn track(&self, name: &str) -> Option<&CatalogTrack> {
        self.tracks.iter().find(|track| track.name == name)
    }
}
