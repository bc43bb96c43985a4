//! Access units in broadcast time to CMAF tracks: groups, objects, init segments and the catalog.
//!
//! **Groups.** A video group starts at every IDR picture, and at every other picture that a decoder can start at
//! ([`RandomAccess::Open`]: recovery points, key frames of open GOPs), there at most two a second. Its first
//! sample is a sync sample; pictures of an open GOP that are shown before it are marked as leading (`is_leading` 1), so that who
//! starts there leaves them out. A group that becomes too long (30 s, or [`PackagerConfig::group_len_max`]) goes on in another
//! one whose first sample is no sync sample: who is there goes on, who comes waits for a start. One object is one frame. Audio
//! flushes its open object where a video group starts and goes on in the group of the same id. Without video, audio makes groups
//! of two seconds. Ids come from one sequence for all tracks.
//!
//! **Start.** Until the first picture to start at, video is dropped (counted) and audio waits: for half a second when nothing is
//! known of a video, for ten when the encoder announced one or video frames are coming, not at all when the encoder announced that
//! it sends none. After that the broadcast starts with sound alone, and a later start brings the video in.
//!
//! **Catalog.** It is published as soon as every expected track is there (a track that the encoder's metadata rules out is not
//! expected), and after half a second with those that are. The wait runs on media time and on the server's clock, whichever is
//! first. With an encoder that interleaves as usual that is at the first audio frame after the first IDR, some ten milliseconds.
//! A later track, a changed sequence header, or a bitrate measured because the encoder told none makes a new catalog. So does a
//! track that no longer comes (the encoder is back without sound, a camera died): players start with all tracks of a catalog
//! or not at all, so it is left out until it comes again.

mod audio;
mod catalog;
mod groups;
mod output;
mod presence;
mod video;

use std::collections::VecDeque;

use streams_media::{AccessUnit, CodecConfig, MediaError, MediaKind, RandomAccess, Timeline};

use audio::{AudioTrack, Placed};
use catalog::CatalogState;
use groups::GroupIds;
pub use output::{Output, PackagerConfig, PackagerCounters};
use output::{PRIORITY_AUDIO, PRIORITY_CATALOG, PRIORITY_INIT, PRIORITY_VIDEO};
use presence::{Presence, Starts};
use video::{Opening, VideoTrack};

use crate::StreamMetadata;

/// How long a track that is only possible may delay what is there.
const WAIT_US_MAX: i64 = 500_000;
/// A group that begins at a picture of an open GOP is no shorter: some encoders call every picture a recovery point.
const OPEN_GROUP_US_MIN: i64 = 500_000;
/// A group is no longer, so that who joins has little to catch up with.
const GROUP_US_MAX: i64 = 30_000_000;
/// How long audio waits for the first start of a video that is known to come: the longest usual distance between key frames.
const WAIT_IDR_US_MAX: i64 = 10_000_000;
/// Audio frames held while waiting, newest kept: about a second at 48 kHz.
const WAITING_AUDIO_MAX: usize = 48;
/// Length of a group without video, and the silence of video after which audio makes its own groups again.
const AUDIO_GROUP_US: i64 = 2_000_000;
const US_PER_MS: i64 = 1000;

/// When the encoder's present connection began.
#[derive(Debug, Clone, Copy)]
struct Began {
    dts_us: i64,
    unix_ms: u64,
}

/// Packages one broadcast, over all connections of its encoder.
#[derive(Debug)]
pub struct Packager {
    ids: GroupIds,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    catalog: CatalogState,
    hints: StreamMetadata,
    /// Since the start or the last reconnect.
    began: Option<Began>,
    /// Decode time of the last unit.
    last_dts_us: i64,
    group_len_max: usize,
    starts: Starts,
    video_presence: Presence,
    audio_presence: Presence,
    /// Tracks that are left out of the catalog, video and audio, for they do not come.
    gone: [bool; 2],
    /// The group that audio goes to, and the time it began; `None` while audio waits.
    audio_group: Option<(u64, i64)>,
    waiting_audio: VecDeque<AccessUnit>,
    outputs: VecDeque<Output>,
    counters: PackagerCounters,
}

impl Packager {
    /// A packager with no track yet.
    pub fn new(config: PackagerConfig) -> Self {
        Self {
            ids: GroupIds::new(config.first_group_min),
            video: None,
            audio: None,
            catalog: CatalogState::new(config.first_group_min),
            hints: StreamMetadata::default(),
            began: None,
            last_dts_us: 0,
            group_len_max: config.group_len_max,
            starts: Starts::default(),
            video_presence: Presence::default(),
            audio_presence: Presence::default(),
            gone: [false; 2],
            audio_group: None,
            waiting_audio: VecDeque::new(),
            outputs: VecDeque::new(),
            counters: PackagerCounters::default(),
        }
    }

    /// Takes the encoder's hints: which kinds of media to expect, frame rate and bitrates for the catalog.
    pub fn metadata(&mut self, metadata: &StreamMetadata) {
        self.hints = metadata.clone();
    }

    /// Packages one normalised unit that arrived at `unix_ms`. Poll the outputs afterwards.
    pub fn push(&mut self, unix_ms: u64, unit: AccessUnit) {
        let began = *self.began.get_or_insert(Began { dts_us: unit.dts_us, unix_ms });
        let waited_us = waited_us(began, &unit, unix_ms);
        self.note_presence(&unit);
        let config = unit.config.clone();
        let pushed = match config.as_ref() {
            CodecConfig::Aac(_) | CodecConfig::Opus(_) => self.push_audio(unix_ms, waited_us, unit),
            _ => self.push_video(unix_ms, &unit),
        };
        self.refuse(pushed);
        self.catalog.bitrates(&self.hints, self.video.as_ref(), self.audio.as_ref());
        if self.catalog.is_stale() && (self.catalog.is_published() || self.is_complete() || waited_us >= WAIT_US_MAX) {
            let [no_video, no_audio] = self.gone;
            let (video, audio) = (self.video.as_ref().filter(|_| !no_video), self.audio.as_ref().filter(|_| !no_audio));
            let published = self.catalog.publish(unix_ms, &self.hints, video, audio, &mut self.outputs);
            self.counters.catalogs = self.counters.catalogs.saturating_add(1);
            self.refuse(published);
        }
    }

    /// A new connection of the encoder: open chunks and groups are closed, the next group starts at its first picture to start at. Tracks, group
    /// ids and media time go on; hints are forgotten until [`Packager::metadata`] comes again.
    pub fn reconnect(&mut self) {
        self.finish();
        self.hints = StreamMetadata::default();
        self.began = None;
        (self.video_presence, self.audio_presence, self.starts) = Default::default();
    }

    /// The encoder is gone: writes the open audio chunk and ends the open groups.
    pub fn finish(&mut self) {
        self.end_audio_group();
        self.audio_group = None;
        self.waiting_audio.clear();
        if let Some(video) = &mut self.video {
            video.end_group(&mut self.outputs);
        }
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The highest group id used so far on any track, catalogs included, to be kept over restarts of the engine.
    pub fn last_group(&self) -> Option<u64> {
        self.ids.last().max(self.catalog.last_group())
    }

    /// How long the encoder's video has come without a picture that a viewer could start at, in milliseconds of the server's
    /// clock; 0 while there is no video.
    pub fn without_start_ms(&self) -> u64 {
        self.starts.without_ms()
    }

    /// When the objects of a track are, by the media and by the server's clock; `None` while there is no such track.
    pub fn timeline(&self, kind: MediaKind) -> Option<&Timeline> {
        match kind {
            MediaKind::Video => self.video.as_ref().map(|video| &video.timeline),
            MediaKind::Audio => self.audio.as_ref().map(|audio| &audio.timeline),
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> PackagerCounters {
        self.counters
    }

    /// Finds tracks that no longer come, or come again.
    fn note_presence(&mut self, unit: &AccessUnit) {
        let step_us = unit.dts_us.saturating_sub(std::mem::replace(&mut self.last_dts_us, unit.dts_us));
        let (own, other) = match unit.kind() {
            MediaKind::Video => (&mut self.video_presence, &mut self.audio_presence),
            MediaKind::Audio => (&mut self.audio_presence, &mut self.video_presence),
        };
        own.unit();
        other.others(step_us);
        let gone = [
            self.video.is_some() && self.video_presence.is_gone(self.hints.has_video),
            self.audio.is_some() && self.audio_presence.is_gone(self.hints.has_audio),
        ];
        if std::mem::replace(&mut self.gone, gone) != gone {
            self.catalog.mark_stale();
        }
    }

    fn refuse(&mut self, result: Result<(), MediaError>) {
        if let Err(error) = result {
            self.counters.refused = self.counters.refused.saturating_add(1);
            self.outputs.push_back(Output::Refused { reason: error.to_string() });
        }
    }

    /// Every track that may be expected is there.
    fn is_complete(&self) -> bool {
        let video = self.video.is_some() || (self.hints.has_video == Some(false) && !self.video_presence.is_seen());
        let audio = self.audio.is_some() || self.hints.has_audio == Some(false);
        video && audio
    }

    fn push_video(&mut self, unix_ms: u64, unit: &AccessUnit) -> Result<(), MediaError> {
        self.starts.frame(unix_ms, unit.access.is_start());
        let starts = self.starts_group(unit);
        if starts {
            self.start_video_group(unix_ms, unit)?;
        }
        let usable = |video: &&mut VideoTrack| video.is_open() && CodecConfig::same(&video.config, &unit.config);
        let Some(video) = self.video.as_mut().filter(usable) else {
            self.counters.waiting_for_start = self.counters.waiting_for_start.saturating_add(1);
            return Ok(());
        };
        let too_old = video.group_age_us(unit.dts_us).is_some_and(|age_us| age_us >= GROUP_US_MAX);
        if !starts && (too_old || video.is_full(unit.data.len(), self.group_len_max)) {
            self.counters.groups_in_gop = self.counters.groups_in_gop.saturating_add(1);
            self.next_video_group(unix_ms, unit, Opening::Middle);
        }
        let Some(video) = &mut self.video else { return Ok(()) };
        video.frame(unix_ms, unit, &mut self.outputs)?;
        self.counters.video_frames = self.counters.video_frames.saturating_add(1);
        if starts { self.release_audio(unix_ms, unit.dts_us) } else { Ok(()) }
    }

    /// Whether a group begins with `unit`. New parameter sets need an IDR picture (H.264 §7.4.1.2.1).
    fn starts_group(&self, unit: &AccessUnit) -> bool {
        let Some(video) = &self.video else { return unit.access.is_start() };
        match unit.access {
            RandomAccess::None => false,
            RandomAccess::Closed => true,
            RandomAccess::Open => {
                CodecConfig::same(&video.config, &unit.config)
                    && video.group_age_us(unit.dts_us).is_none_or(|age_us| age_us >= OPEN_GROUP_US_MIN)
            }
        }
    }

    fn start_video_group(&mut self, unix_ms: u64, unit: &AccessUnit) -> Result<(), MediaError> {
        let group = self.next_video_group(unix_ms, unit, Opening::of(unit));
        match &mut self.video {
            Some(video) if CodecConfig::same(&video.config, &unit.config) => return Ok(()),
            Some(video) => video.reconfigure(&unit.config, group, &mut self.outputs)?,
            None => {
                let mut video = VideoTrack::new(unit, group, self.hints.framerate, &mut self.outputs)?;
                video.start_group(group, Opening::of(unit), unit.dts_us);
                self.video = Some(video);
            }
        }
        self.counters.inits = self.counters.inits.saturating_add(1);
        self.catalog.mark_stale();
        Ok(())
    }

    /// Ends the open groups of both tracks; they go on in the next.
    fn next_video_group(&mut self, unix_ms: u64, unit: &AccessUnit, opening: Opening) -> u64 {
        self.end_audio_group();
        let group = self.next_group(unix_ms);
        if let Some(video) = &mut self.video {
            video.end_group(&mut self.outputs);
            video.start_group(group, opening, unit.dts_us);
        }
        self.start_audio_group(group, unit.dts_us);
        group
    }

    fn push_audio(&mut self, unix_ms: u64, waited_us: i64, unit: AccessUnit) -> Result<(), MediaError> {
        if self.audio_group.is_none() {
            let wait_us = match (self.video_presence.is_seen(), self.hints.has_video) {
                (false, Some(false)) => 0,
                (true, _) | (_, Some(true)) => WAIT_IDR_US_MAX,
                (false, None) => WAIT_US_MAX,
            };
            if waited_us < wait_us {
                self.hold_audio(unit);
                return Ok(());
            }
            let group = self.next_group(unix_ms);
            let from_us = self.waiting_audio.front().map_or(unit.dts_us, |first| first.dts_us);
            self.start_audio_group(group, from_us);
            self.release_audio(unix_ms, from_us)?;
        }
        self.roll_audio_group(unix_ms, &unit);
        self.audio_frame(unix_ms, &unit)
    }

    fn hold_audio(&mut self, unit: AccessUnit) {
        if self.waiting_audio.len() >= WAITING_AUDIO_MAX {
            self.waiting_audio.pop_front();
            self.counters.before_first_start = self.counters.before_first_start.saturating_add(1);
        }
        self.waiting_audio.push_back(unit);
    }

    /// Packages the audio that waited, from `from_us` on.
    fn release_audio(&mut self, unix_ms: u64, from_us: i64) -> Result<(), MediaError> {
        while let Some(unit) = self.waiting_audio.pop_front() {
            if unit.dts_us < from_us {
                self.counters.before_first_start = self.counters.before_first_start.saturating_add(1);
                continue;
            }
            self.audio_frame(unix_ms, &unit)?;
        }
        Ok(())
    }

    /// Without video, or once it has fallen silent, audio begins a group every two seconds.
    fn roll_audio_group(&mut self, unix_ms: u64, unit: &AccessUnit) {
        let Some((_, began_us)) = self.audio_group else { return };
        let video_alive = self
            .video
            .as_ref()
            .is_some_and(|video| video.is_open() && unit.dts_us.saturating_sub(video.last_dts_us) < AUDIO_GROUP_US);
        if !video_alive && unit.dts_us.saturating_sub(began_us) >= AUDIO_GROUP_US {
            self.end_audio_group();
            let group = self.next_group(unix_ms);
            self.start_audio_group(group, unit.dts_us);
        }
    }

    fn audio_frame(&mut self, unix_ms: u64, unit: &AccessUnit) -> Result<(), MediaError> {
        let Some((group, _)) = self.audio_group else { return Ok(()) };
        match &self.audio {
            None => {
                self.audio = Some(AudioTrack::new(unit, group, &mut self.outputs)?);
                self.counters.inits = self.counters.inits.saturating_add(1);
                self.catalog.mark_stale();
            }
            Some(audio) if !CodecConfig::same(&audio.config, &unit.config) => {
                // An init segment applies from the start of a group, so the sound after the change needs one of its own.
                self.end_audio_group();
                let group = self.next_group(unix_ms);
                self.start_audio_group(group, unit.dts_us);
                if let Some(audio) = &mut self.audio {
                    audio.reconfigure(&unit.config, group, &mut self.outputs)?;
                }
                self.counters.inits = self.counters.inits.saturating_add(1);
                self.catalog.mark_stale();
            }
            Some(_) => {}
        }
        let Some(audio) = &mut self.audio else { return Ok(()) };
        let counter = match audio.frame(unix_ms, unit, &mut self.outputs)? {
            Placed::Counted => &mut self.counters.audio_frames,
            Placed::Anchored => {
                self.counters.audio_frames = self.counters.audio_frames.saturating_add(1);
                &mut self.counters.audio_anchored
            }
            Placed::Dropped => &mut self.counters.audio_ahead,
        };
        *counter = counter.saturating_add(1);
        Ok(())
    }

    fn next_group(&mut self, unix_ms: u64) -> u64 {
        self.counters.groups = self.counters.groups.saturating_add(1);
        self.ids.next(unix_ms)
    }

    fn start_audio_group(&mut self, group: u64, began_us: i64) {
        self.audio_group = Some((group, began_us));
        if let Some(audio) = &mut self.audio {
            audio.start_group(group);
        }
    }

    fn end_audio_group(&mut self) {
        let Some(audio) = &mut self.audio else { return };
        let flushed = audio.flush(&mut self.outputs);
        audio.end_group(&mut self.outputs);
        self.refuse(flushed);
    }
}

/// Time since the connection began, by the media or by the server's clock, whichever is longer.
fn waited_us(began: Began, unit: &AccessUnit, unix_ms: u64) -> i64 {
    let by_clock_ms = i64::try_from(unix_ms.saturating_sub(began.unix_ms)).unwrap_or(i64::MAX);
    unit.dts_us.saturating_sub(began.dts_us).max(by_clock_ms.saturating_mul(US_PER_MS))
}
