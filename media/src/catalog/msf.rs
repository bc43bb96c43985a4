//! The same tracks as an MSF catalog (draft-ietf-moq-msf-01) with CMAF packaging (CMSF).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::{Catalog, CatalogTrack};
use crate::{MediaError, MediaKind};

/// Version string of the MSF draft that the document follows.
const MSF_VERSION: &str = "draft-01";
/// Tracks with the same number are meant to be rendered together.
const RENDER_GROUP: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MsfCatalog<'a> {
    version: &'static str,
    generated_at: u64,
    tracks: Vec<MsfTrack<'a>>,
    init_data_list: Vec<MsfInitData<'a>>,
}

#[derive(Serialize)]
struct MsfInitData<'a> {
    id: &'a str,
    r#type: &'static str,
    data: &'a str,
}

/// One track. Field names are MSF's: `samplerate` and `channelConfig` differ from the model's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MsfTrack<'a> {
    name: &'a str,
    /// For people: the height now, which the name of a track need not tell, since it stays for the broadcast's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    packaging: &'static str,
    role: MediaKind,
    is_live: bool,
    render_group: u32,
    codec: &'a str,
    mime_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alt_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timescale: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framerate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samplerate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_config: Option<String>,
    /// MSF draft-01's way to name the init segment …
    #[serde(skip_serializing_if = "Option::is_none")]
    init_ref: Option<&'a str>,
    /// … and draft-00's, which older players know alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    init_data: Option<&'a str>,
}

impl<'a> MsfTrack<'a> {
    fn new(track: &'a CatalogTrack, init: Option<&'a str>, live: bool) -> Self {
        let mime_type = match track.kind {
            MediaKind::Video => "video/mp4",
            MediaKind::Audio => "audio/mp4",
        };
        Self {
            name: &track.name,
            label: track.height.map(|height| format!("{height}p")),
            packaging: "cmaf",
            role: track.kind,
            is_live: live,
            render_group: RENDER_GROUP,
            codec: &track.codec,
            mime_type,
            alt_group: track.alt_group,
            timescale: track.timescale,
            bitrate: track.bitrate,
            framerate: track.framerate,
            width: track.width,
            height: track.height,
            samplerate: track.sample_rate,
            channel_config: track.channels.map(|channels| channels.to_string()),
            init_ref: init.is_some().then_some(track.name.as_str()),
            init_data: init,
        }
    }
}

impl Catalog {
    /// The MSF `catalog` document, made at `generated_at_ms` (Unix time). Init segments stand in `initDataList` (with
    /// `initRef`) and in `initData` too, since players of either draft read only one of them.
    ///
    /// # Errors
    /// [`MediaError::CatalogJson`], as [`Catalog::to_json`].
    pub fn to_msf_json(&self, generated_at_ms: u64) -> Result<Bytes, MediaError> {
        let inits: Vec<_> =
            self.tracks.iter().map(|track| track.init.as_ref().map(|init| STANDARD.encode(init))).collect();
        let tracks = || self.tracks.iter().zip(inits.iter().map(Option::as_deref));
        let document = MsfCatalog {
            version: MSF_VERSION,
            generated_at: generated_at_ms,
            tracks: tracks().map(|(track, init)| MsfTrack::new(track, init, self.live)).collect(),
            init_data_list: tracks()
                .filter_map(|(track, init)| Some(MsfInitData { id: &track.name, r#type: "inline", data: init? }))
                .collect(),
        };
        Ok(Bytes::from(serde_json::to_vec(&document)?))
    }
}
