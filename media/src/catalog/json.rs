//! The `.catalog` document: the outside contract's names, init segments as base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogTrack};
use crate::{MediaError, MediaKind};

/// The version number this crate writes and reads.
const CATALOG_VERSION: u32 = 1;

/// The longest catalog that is parsed. Sixteen tracks with an init segment of 4 KiB each stay under 100 KiB.
const CATALOG_LEN_MAX: usize = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    version: u32,
    live: bool,
    tracks: Vec<Track<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Track<'a> {
    name: Cow<'a, str>,
    kind: MediaKind,
    codec: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    framerate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample_rate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bitrate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timescale: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_track: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_group: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alt_group: Option<u32>,
}

impl<'a> From<&'a CatalogTrack> for Track<'a> {
    fn from(track: &'a CatalogTrack) -> Self {
        Self {
            name: Cow::Borrowed(&track.name),
            kind: track.kind,
            codec: Cow::Borrowed(&track.codec),
            width: track.width,
            height: track.height,
            framerate: track.framerate,
            sample_rate: track.sample_rate,
            channels: track.channels,
            bitrate: track.bitrate,
            timescale: track.timescale,
            init: track.init.as_ref().map(|init| Cow::Owned(STANDARD.encode(init))),
            init_track: track.init_track.as_deref().map(Cow::Borrowed),
            init_group: track.init_group,
            alt_group: track.alt_group,
        }
    }
}

impl Track<'_> {
    fn into_model(self) -> Result<CatalogTrack, MediaError> {
        let init = match self.init.map(|text| STANDARD.decode(text.as_bytes())).transpose() {
            Ok(init) => init.map(Bytes::from),
            Err(reason) => return Err(MediaError::CatalogInit { track: self.name.into_owned(), reason }),
        };
        Ok(CatalogTrack {
            name: self.name.into_owned(),
            kind: self.kind,
            codec: self.codec.into_owned(),
            width: self.width,
            height: self.height,
            framerate: self.framerate,
            sample_rate: self.sample_rate,
            channels: self.channels,
            bitrate: self.bitrate,
            timescale: self.timescale,
            init,
            init_track: self.init_track.map(Cow::into_owned),
            init_group: self.init_group,
            alt_group: self.alt_group,
        })
    }
}

impl Catalog {
    /// The `.catalog` document.
    ///
    /// # Errors
    /// [`MediaError::CatalogJson`] when a number has no JSON form (a frame rate that is not finite is written as null and
    /// never fails).
    pub fn to_json(&self) -> Result<Bytes, MediaError> {
        let tracks = self.tracks.iter().map(Track::from).collect();
        let document = Document { version: CATALOG_VERSION, live: self.live, tracks };
        Ok(Bytes::from(serde_json::to_vec(&document)?))
    }

    /// Reads a `.catalog` document; unknown fields are ignored.
    ///
    /// # Errors
    /// [`MediaError::CatalogLen`], [`MediaError::CatalogJson`], [`MediaError::CatalogVersion`] for a document of another
    /// version, or [`MediaError::CatalogInit`] when an init segment is no base64.
    pub fn from_json(document: &[u8]) -> Result<Self, MediaError> {
        if document.len() > CATALOG_LEN_MAX {
            return Err(MediaError::CatalogLen { len: document.len(), len_max: CATALOG_LEN_MAX });
        }
        let read: Document<'_> = serde_json::from_slice(document)?;
        if read.version != CATALOG_VERSION {
            return Err(MediaError::CatalogVersion { version: read.version, known: CATALOG_VERSION });
        }
        let tracks = read.tracks.into_iter().map(Track::into_model).collect::<Result<_, _>>()?;
        Ok(Self { live: read.live, tracks })
    }
}
