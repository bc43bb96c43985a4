//! When a catalog is published, and what is in it.

use std::collections::VecDeque;

use streams_media::catalog::{CATALOG_TRACK, Catalog, CatalogTrack, MSF_CATALOG_TRACK};
use streams_media::fmp4::VIDEO_TIMESCALE;
use streams_media::{MediaError, MediaKind};

use super::audio::AudioTrack;
use super::groups::GroupIds;
use super::video::VideoTrack;
use super::{Output, PRIORITY_CATALOG};
use crate::StreamMetadata;

/// A bitrate is measured over no less than this.
const MEASURE_US_MIN: i64 = 2_000_000;
const BITS_US_PER_BYTE_S: u64 = 8 * 1_000_000;
/// All video renditions of a broadcast are alternatives of one another.
const VIDEO_ALT_GROUP: u32 = 1;

/// What was published last, and whether it still holds.
#[derive(Debug)]
pub struct CatalogState {
    ids: GroupIds,
    announced: bool,
    stale: bool,
    video_bitrate: Option<u64>,
    audio_bitrate: Option<u64>,
}

impl CatalogState {
    pub fn new(first_group_min: u64) -> Self {
        let ids = GroupIds::new(first_group_min);
        Self { ids, announced: false, stale: false, video_bitrate: None, audio_bitrate: None }
    }

    /// A track came, or its configuration changed.
    pub fn mark_stale(&mut self) {
        self.stale = true;
    }

    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// The highest group id used by catalogs.
    pub fn last_group(&self) -> Option<u64> {
        self.ids.last()
    }

    pub fn is_published(&self) -> bool {
        self.announced
    }

    /// Takes bitrates from the encoder's word at once, and measures once what the encoder does not tell. A measured value makes
    /// one more catalog.
    pub fn bitrates(&mut self, hints: &StreamMetadata, video: Option<&VideoTrack>, audio: Option<&AudioTrack>) {
        self.video_bitrate = self.video_bitrate.or(hints.video_bitrate);
        self.audio_bitrate = self.audio_bitrate.or(hints.audio_bitrate);
        if let (None, Some(video)) = (self.video_bitrate, video) {
            self.video_bitrate = measure(video.data_len, video.first_dts_us, video.last_dts_us);
            self.stale |= self.video_bitrate.is_some();
        }
        if let (None, Some(audio)) = (self.audio_bitrate, audio) {
            self.audio_bitrate = measure(audio.data_len, audio.first_dts_us, audio.last_dts_us);
            self.stale |= self.audio_bitrate.is_some();
        }
    }

    /// Publishes the catalog of the tracks that there are.
    ///
    /// # Errors
    /// [`MediaError::CatalogJson`] when it has no JSON form.
    pub fn publish(
        &mut self,
        unix_ms: u64,
        hints: &StreamMetadata,
        video: Option<&VideoTrack>,
        audio: Option<&AudioTrack>,
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), MediaError> {
        self.stale = false;
        let video = video.and_then(|video| self.video_entry(hints, video));
        let audio = audio.and_then(|audio| self.audio_entry(audio));
        let catalog = Catalog::live(video.into_iter().chain(audio).collect());
        let (json, msf_json) = (catalog.to_json()?, catalog.to_msf_json(unix_ms)?);
        if !self.announced {
            self.announced = true;
            for name in [CATALOG_TRACK, MSF_CATALOG_TRACK] {
                outputs.push_back(Output::Track { name: name.into(), priority: PRIORITY_CATALOG, pinned: true });
            }
        }
        outputs.push_back(Output::Catalog { group: self.ids.next(unix_ms), catalog, json, msf_json });
        Ok(())
    }

    fn video_entry(&self, hints: &StreamMetadata, video: &VideoTrack) -> Option<CatalogTrack> {
        let picture = video.config.picture()?;
        Some(CatalogTrack {
            name: video.name.to_string(),
            kind: MediaKind::Video,
            codec: video.config.codec().to_owned(),
            width: Some(picture.width),
            height: Some(picture.height),
            framerate: picture.framerate.or(hints.framerate),
            sample_rate: None,
            channels: None,
            bitrate: self.video_bitrate,
            timescale: Some(VIDEO_TIMESCALE),
            init: Some(video.init.clone()),
            init_track: Some(video.init_name.to_string()),
            init_group: Some(video.init_group),
            alt_group: Some(VIDEO_ALT_GROUP),
        })
    }

    fn audio_entry(&self, audio: &AudioTrack) -> Option<CatalogTrack> {
        let format = audio.config.audio()?;
        Some(CatalogTrack {
            name: audio.name.to_string(),
            kind: MediaKind::Audio,
            codec: audio.config.codec().to_owned(),
            width: None,
            height: None,
            framerate: None,
            sample_rate: Some(format.output_rate),
            channels: Some(format.channels),
            bitrate: self.audio_bitrate,
            timescale: Some(format.timescale),
            init: Some(audio.init.clone()),
            init_track: Some(audio.init_name.to_string()),
            init_group: Some(audio.init_group),
            alt_group: None,
        })
    }
}

/// Bits a second over the track's life; `None` while that is too short to say.
fn measure(data_len: u64, first_dts_us: i64, last_dts_us: i64) -> Option<u64> {
    let span_us = last_dts_us.saturating_sub(first_dts_us);
    let span_us = u64::try_from(span_us).ok().filter(|_| span_us >= MEASURE_US_MIN)?;
    data_len.saturating_mul(BITS_US_PER_BYTE_S).checked_div(span_us)
}
