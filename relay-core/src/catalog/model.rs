//! The catalog's own model and its JSON form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version number this crate writes and reads.
const CATALOG_VERSION: u32 = 1;

/// The longest catalog that is parsed. Sixteen tracks with an init segment of 4 KiB each stay under 100 KiB.
const CATALOG_LEN_MAX: usize = 1024 * 1024;

/// Why a catalog could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The document is longer than this crate accepts.
    #[error("catalog of {len} bytes exceeds the limit of {len_max}; publish fewer tracks or shorter init segments")]
    TooLong {
        /// Length of the document in bytes.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// The document speaks a version this crate does not know.
    #[error("catalog version {0} is not supported; this side speaks version {CATALOG_VERSION}")]
    Version(u32),
    /// The document is no JSON of the catalog's shape.
    #[error("catalog is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// A track's init segment is no base64.
    #[error("init segment of track {track} is malformed: {reason}")]
    Init {
        /// The track's name.
        track: String,
        /// What the base64 decoder said.
        reason: base64::DecodeError,
    },
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One playable track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogTrack {
    /// Track name inside the broadcast's namespace, fixed for the broadcast's life: `video/<height>p` or `audio`.
    pub name: String,
    /// Video or audio.
    pub kind: TrackKind,
    /// RFC 6381 codec string, for example `avc1.4D401F` or `mp4a.40.2`.
    pub codec: String,
    /// Picture width in luma samples (video).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Picture height in luma samples (video).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Nominal frames a second (video), when the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framerate: Option<f64>,
    /// Output samples a second (audio); with explicit SBR this is twice the timescale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels after decoding (audio).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Bits a second, from the source's metadata or measured; absent until one of them is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// Ticks a second of every `tfdt` and sample duration in the track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timescale: Option<u32>,
    /// The init segment (`ftyp` + `moov`), base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Track whose groups hold init segments, one object each: `<name>.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_track: Option<String>,
    /// First media group that [`CatalogTrack::init`] applies to; also the group id of that init in `init_track`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_group: Option<u64>,
    /// Tracks with the same number are renditions of one another: their equal group ids mean equal media time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alt_group: Option<u32>,
}

impl CatalogTrack {
    /// Puts `segment` (`ftyp` + `moov`) into [`CatalogTrack::init`].
    pub fn set_init(&mut self, segment: &[u8]) {
        self.init = Some(STANDARD.encode(segment));
    }

    /// The init segment's bytes, `None` when the track carries none in the catalog.
    ///
    /// # Errors
    /// [`CatalogError::Init`] when the text is no base64.
    pub fn init_bytes(&self) -> Result<Option<Bytes>, CatalogError> {
        let Some(text) = &self.init else { return Ok(None) };
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(reason) => Err(CatalogError::Init { track: self.name.clone(), reason }),
        }
    }
}

/// The tracks of one broadcast or asset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// Version of the document's shape; 1.
    pub version: u32,
    /// True while the broadcast goes on.
    pub live: bool,
    /// Video first, then audio.
    pub tracks: Vec<CatalogTrack>,
}

impl Catalog {
    /// A catalog of a broadcast that is going on.
    pub fn live(tracks: Vec<CatalogTrack>) -> Self {
        Self { version: CATALOG_VERSION, live: true, tracks }
    }

    /// The track of that name.
    pub fn track(&self, name: &str) -> Option<&CatalogTrack> {
        self.tracks.iter().find(|track| track.name == name)
    }

    /// The `.catalog` document.
    ///
    /// # Errors
    /// [`CatalogError::Json`] when a number has no JSON form (a frame rate that is not finite is written as null and
    /// never fails).
    pub fn to_json(&self) -> Result<Bytes, CatalogError> {
        Ok(Bytes::from(serde_json::to_vec(self)?))
    }

    /// Reads a `.catalog` document; unknown fields are ignored.
    ///
    /// # Errors
    /// [`CatalogError::TooLong`], [`CatalogError::Json`], or [`CatalogError::Version`] for a document of another version.
    pub fn from_json(document: &[u8]) -> Result<Self, CatalogError> {
        if document.len() > CATALOG_LEN_MAX {
            return Err(CatalogError::TooLong { len: document.len(), len_max: CATALOG_LEN_MAX });
        }
        let catalog: Self = serde_json::from_slice(document)?;
        if catalog.version != CATALOG_VERSION {
            return Err(CatalogError::Version(catalog.version));
        }
        Ok(catalog)
    }
}
