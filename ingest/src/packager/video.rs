//! The video rendition: one object a frame; a group begins where a decoder can start, or where the last one had to end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use streams_media::fmp4::{Sample, SampleFlags, VIDEO_TIMESCALE, VIDEO_TRACK_ID, write_chunk, write_video_init};
use streams_media::{AccessUnit, CodecConfig, MediaError, Position, RandomAccess, Timeline};

use super::{Output, PRIORITY_INIT, PRIORITY_VIDEO};

/// Before two frames have shown a frame duration and when the source tells no frame rate: 30 a second.
const DURATION_DEFAULT: u32 = VIDEO_TIMESCALE / 30;
/// A larger step is a gap and no frame duration.
const DURATION_MAX: u64 = VIDEO_TIMESCALE as u64;

/// How a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// With a picture that a decoder can start at. Pictures shown before it, when the GOP is open, it cannot show.
    Start { leading_until_us: Option<i64> },
    /// In the middle of a GOP: it goes on for those who have what came before.
    Middle,
}

impl Opening {
    /// How a group that begins with `unit` begins.
    pub fn of(unit: &AccessUnit) -> Self {
        match unit.access {
            RandomAccess::Closed => Self::Start { leading_until_us: None },
            RandomAccess::Open => Self::Start { leading_until_us: Some(unit.pts_us) },
            RandomAccess::None => Self::Middle,
        }
    }
}

/// The group that frames go to.
#[derive(Debug, Clone, Copy)]
struct OpenGroup {
    id: u64,
    opening: Opening,
    began_us: i64,
    next_object: u64,
    /// Payload bytes so far.
    len: usize,
}

/// The track of the one video rendition that a source has.
#[derive(Debug)]
pub struct VideoTrack {
    pub name: Arc<str>,
    pub init_name: Arc<str>,
    pub config: Arc<CodecConfig>,
    pub init: Bytes,
    /// First group that `init` applies to.
    pub init_group: u64,
    group: Option<OpenGroup>,
    last_tfdt: Option<u64>,
    duration: u32,
    sequence: u32,
    pub timeline: Timeline,
    pub first_dts_us: i64,
    pub last_dts_us: i64,
    /// Coded bytes so far.
    pub data_len: u64,
}

impl VideoTrack {
    /// A track named after the height of its first picture, which begins with group `group`.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the init segment cannot be written.
    pub fn new(
        unit: &AccessUnit,
        group: u64,
        framerate_hint: Option<f64>,
        outputs: &mut VecDeque<Output>,
    ) -> Result<Self, MediaError> {
        let picture = unit.config.picture().ok_or(MediaError::Malformed("video without a picture"))?;
        let name: Arc<str> = format!("video/{}p", picture.height).into();
        let init_name: Arc<str> = format!("{name}.init").into();
        let init = write_video_init(&unit.config)?;
        outputs.push_back(Output::Track { name: Arc::clone(&init_name), priority: PRIORITY_INIT, pinned: true });
        outputs.push_back(Output::Track { name: Arc::clone(&name), priority: PRIORITY_VIDEO, pinned: false });
        outputs.push_back(Output::Init { track: Arc::clone(&init_name), group, payload: init.clone() });
        let duration = picture
            .framerate
            .or(framerate_hint)
            .map(|rate| (f64::from(VIDEO_TIMESCALE) / rate) as u32)
            .filter(|duration| *duration > 0);
        Ok(Self {
            name,
            init_name,
            config: Arc::clone(&unit.config),
            init,
            init_group: group,
            group: None,
            last_tfdt: None,
            duration: duration.unwrap_or(DURATION_DEFAULT),
            sequence: 0,
            timeline: Timeline::default(),
            first_dts_us: unit.dts_us,
            last_dts_us: unit.dts_us,
            data_len: 0,
        })
    }

    /// Takes another configuration into use from group `group` on.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the init segment cannot be written.
    pub fn reconfigure(
        &mut self,
        config: &Arc<CodecConfig>,
        group: u64,
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), MediaError> {
        self.init = write_video_init(config)?;
        self.init_group = group;
        self.config = Arc::clone(config);
        outputs.push_back(Output::Init { track: Arc::clone(&self.init_name), group, payload: self.init.clone() });
        Ok(())
    }

    /// True while a group is open: a frame that is no start can be packaged.
    pub fn is_open(&self) -> bool {
        self.group.is_some()
    }

    /// Media time since the open group began; `None` without one.
    pub fn group_age_us(&self, dts_us: i64) -> Option<i64> {
        self.group.map(|group| dts_us.saturating_sub(group.began_us))
    }

    /// True when the open group would become longer than `len_max` by a frame of `frame_len`.
    pub fn is_full(&self, frame_len: usize, len_max: usize) -> bool {
        self.group.is_some_and(|group| group.next_object > 0 && group.len.saturating_add(frame_len) > len_max)
    }

    pub fn start_group(&mut self, id: u64, opening: Opening, began_us: i64) {
        self.group = Some(OpenGroup { id, opening, began_us, next_object: 0, len: 0 });
    }

    pub fn end_group(&mut self, outputs: &mut VecDeque<Output>) {
        if let Some(group) = self.group.take() {
            outputs.push_back(Output::GroupEnd { track: Arc::clone(&self.name), group: group.id });
        }
    }

    /// Packages one frame, which came at `unix_ms`, into the open group. Its duration is the step its predecessor made: the next frame's time corrects
    /// it, since every chunk says its own decoding time.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the chunk cannot be written.
    pub fn frame(&mut self, unix_ms: u64, unit: &AccessUnit, outputs: &mut VecDeque<Output>) -> Result<(), MediaError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let flags = match group.opening {
            Opening::Start { .. } if group.next_object == 0 => SampleFlags::SYNC,
            Opening::Start { leading_until_us: Some(until_us) } if unit.pts_us < until_us => SampleFlags::LEADING,
            Opening::Start { .. } | Opening::Middle => SampleFlags::DELTA,
        };
        let wanted = ticks(unit.dts_us);
        let tfdt = match self.last_tfdt {
            Some(last) => {
                let tfdt = wanted.max(last.saturating_add(1));
                let step = tfdt.saturating_sub(last);
                if step <= DURATION_MAX {
                    self.duration = u32::try_from(step).unwrap_or(self.duration);
                }
                tfdt
            }
            None => wanted,
        };
        let composition =
            i64::try_from(ticks(unit.pts_us)).unwrap_or(0).saturating_sub(i64::try_from(tfdt).unwrap_or(0));
        let sample = Sample {
            duration: self.duration,
            flags,
            composition: i32::try_from(composition).unwrap_or(0),
            data: unit.data.clone(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let payload = write_chunk(VIDEO_TRACK_ID, self.sequence, tfdt, &[sample])?;
        group.len = group.len.saturating_add(payload.len());
        let object = group.next_object;
        group.next_object = object.saturating_add(1);
        self.timeline.push(Position { group: group.id, object }, unit.dts_us, unix_ms);
        outputs.push_back(Output::Object {
            track: Arc::clone(&self.name),
            group: group.id,
            object,
            payload,
            end_of_group: false,
        });
        self.last_tfdt = Some(tfdt);
        self.last_dts_us = unit.dts_us;
        self.data_len = self.data_len.saturating_add(unit.data.len() as u64);
        Ok(())
    }
}

/// Microseconds in ticks of the video timescale, the nearest: times of FLV (milliseconds) and of MPEG-TS (90 kHz) are exact.
fn ticks(time_us: i64) -> u64 {
    u64::try_from(time_us.saturating_mul(9).saturating_add(50) / 100).unwrap_or(0)
}
