//! The audio track: objects of up to 64 ms, times counted in samples.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use streams_media::fmp4::{AUDIO_TRACK_ID, Sample, SampleFlags, write_audio_init, write_chunk};
use streams_media::{AccessUnit, CodecConfig, MediaError, Position, Timeline};

use super::{Output, PRIORITY_AUDIO, PRIORITY_INIT};

const TRACK_NAME: &str = "audio";
const INIT_NAME: &str = "audio.init";
/// Three AAC frames at 48 kHz or Opus packets of 20 ms: few objects, little waiting.
const CHUNK_MS_MAX: u64 = 64;
/// The sample count follows the encoder's clock only past this. FLV's milliseconds jitter by less than one.
const ANCHOR_MS_MAX: u64 = 50;
const US_PER_S: u64 = 1_000_000;
const MS_PER_S: u64 = 1000;

/// The one audio track that a source has.
#[derive(Debug)]
pub struct AudioTrack {
    pub name: Arc<str>,
    pub init_name: Arc<str>,
    pub config: Arc<CodecConfig>,
    pub init: Bytes,
    /// First group that `init` applies to.
    pub init_group: u64,
    timescale: u32,
    group: u64,
    /// True once the group has an object that nobody ended.
    group_open: bool,
    next_object: u64,
    /// Decoding time of the next frame by the count of samples; `None` before the first.
    next_tfdt: Option<u64>,
    /// True while frames are dropped because the count ran ahead of the encoder's clock.
    ahead: bool,
    chunk: Vec<Sample>,
    /// Ticks of all its frames.
    chunk_len: u64,
    chunk_tfdt: u64,
    /// Broadcast time of the chunk's first frame, and when that came.
    chunk_began: (i64, u64),
    pub timeline: Timeline,
    sequence: u32,
    pub first_dts_us: i64,
    pub last_dts_us: i64,
    /// Coded bytes so far.
    pub data_len: u64,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It continues the count of samples.
    Counted,
    /// The count was moved on to the encoder's clock; a hole is left before this frame.
    Anchored,
    /// The count runs ahead of the encoder's clock, or it is no frame of its codec; it was left out.
    Dropped,
}

impl AudioTrack {
    /// A track that begins with group `group`.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the init segment cannot be written.
    pub fn new(unit: &AccessUnit, group: u64, outputs: &mut VecDeque<Output>) -> Result<Self, MediaError> {
        let (name, init_name): (Arc<str>, Arc<str>) = (TRACK_NAME.into(), INIT_NAME.into());
        let init = write_audio_init(&unit.config)?;
        outputs.push_back(Output::Track { name: Arc::clone(&init_name), priority: PRIORITY_INIT, pinned: true });
        outputs.push_back(Output::Track { name: Arc::clone(&name), priority: PRIORITY_AUDIO, pinned: false });
        outputs.push_back(Output::Init { track: Arc::clone(&init_name), group, payload: init.clone() });
        Ok(Self {
            name,
            init_name,
            config: Arc::clone(&unit.config),
            init,
            init_group: group,
            timescale: timescale_of(&unit.config),
            group,
            group_open: false,
            next_object: 0,
            next_tfdt: None,
            ahead: false,
            chunk: Vec::new(),
            chunk_len: 0,
            chunk_tfdt: 0,
            chunk_began: (0, 0),
            timeline: Timeline::default(),
            sequence: 0,
            first_dts_us: unit.dts_us,
            last_dts_us: unit.dts_us,
            data_len: 0,
        })
    }

    /// Takes another configuration into use from group `group` on, which must be the open one and empty.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the init segment cannot be written.
    pub fn reconfigure(
        &mut self,
        config: &Arc<CodecConfig>,
        group: u64,
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), MediaError> {
        self.init = write_audio_init(config)?;
        let timescale = timescale_of(config);
        self.init_group = group;
        self.config = Arc::clone(config);
        // The count goes on in the new timescale, rounded up so that it never steps back.
        let next = self.next_tfdt.map(|tfdt| {
            let scaled = u128::from(tfdt) * u128::from(timescale);
            u64::try_from(scaled.div_ceil(u128::from(self.timescale.max(1)))).unwrap_or(u64::MAX)
        });
        self.next_tfdt = next;
        self.timescale = timescale;
        outputs.push_back(Output::Init { track: Arc::clone(&self.init_name), group, payload: self.init.clone() });
        Ok(())
    }

    /// Later frames go to group `group`; flush and end the old one first.
    pub fn start_group(&mut self, group: u64) {
        self.group = group;
        self.next_object = 0;
    }

    pub fn end_group(&mut self, outputs: &mut VecDeque<Output>) {
        if mem::take(&mut self.group_open) {
            outputs.push_back(Output::GroupEnd { track: Arc::clone(&self.name), group: self.group });
        }
    }

    /// Adds one frame, which came at `unix_ms`, to the open chunk, and writes the chunk once another frame would make it too long.
    ///
    /// # Errors
    /// [`MediaError::Write`] when a chunk cannot be written.
    pub fn frame(
        &mut self,
        unix_ms: u64,
        unit: &AccessUnit,
        outputs: &mut VecDeque<Output>,
    ) -> Result<Placed, MediaError> {
        let Some(frame_len) = unit.config.frame_len(&unit.data) else { return Ok(Placed::Dropped) };
        let clock = self.ticks(unit.dts_us);
        let slack = u64::from(self.timescale).saturating_mul(ANCHOR_MS_MAX) / MS_PER_S;
        let (tfdt, placed) = match self.next_tfdt {
            None => (clock, Placed::Counted),
            Some(next) if clock > next.saturating_add(slack) => {
                self.flush(outputs)?;
                (clock, Placed::Anchored)
            }
            Some(next) => {
                // Dropping goes on until the count is level again, so that it happens once and not at every frame.
                self.ahead = clock < next && (self.ahead || clock.saturating_add(slack) < next);
                if self.ahead {
                    return Ok(Placed::Dropped);
                }
                (next, Placed::Counted)
            }
        };
        self.ahead = false;
        if self.chunk.is_empty() {
            self.chunk_tfdt = tfdt;
            self.chunk_began = (unit.dts_us, unix_ms);
        }
        self.chunk.push(Sample {
            duration: frame_len,
            flags: SampleFlags::SYNC,
            composition: 0,
            data: unit.data.clone(),
        });
        self.chunk_len = self.chunk_len.saturating_add(u64::from(frame_len));
        self.next_tfdt = Some(tfdt.saturating_add(u64::from(frame_len)));
        self.last_dts_us = unit.dts_us;
        self.data_len = self.data_len.saturating_add(unit.data.len() as u64);
        let next_ms = self.chunk_len.saturating_add(u64::from(frame_len)).saturating_mul(MS_PER_S);
        if next_ms > CHUNK_MS_MAX.saturating_mul(u64::from(self.timescale)) {
            self.flush(outputs)?;
        }
        Ok(placed)
    }

    /// Writes the open chunk, if there is one.
    ///
    /// # Errors
    /// [`MediaError::Write`] when the chunk cannot be written; its frames are lost.
    pub fn flush(&mut self, outputs: &mut VecDeque<Output>) -> Result<(), MediaError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.sequence = self.sequence.wrapping_add(1);
        let payload = write_chunk(AUDIO_TRACK_ID, self.sequence, self.chunk_tfdt, &self.chunk);
        self.chunk.clear();
        self.chunk_len = 0;
        let object = self.next_object;
        outputs.push_back(Output::Object {
            track: Arc::clone(&self.name),
            group: self.group,
            object,
            payload: payload?,
            end_of_group: false,
        });
        let (media_us, unix_ms) = self.chunk_began;
        self.timeline.push(Position { group: self.group, object }, media_us, unix_ms);
        self.next_object = object.saturating_add(1);
        self.group_open = true;
        Ok(())
    }

    fn ticks(&self, time_us: i64) -> u64 {
        let time_us = u128::from(u64::try_from(time_us).unwrap_or(0));
        u64::try_from(time_us * u128::from(self.timescale) / u128::from(US_PER_S)).unwrap_or(u64::MAX)
    }
}

/// Ticks a second of the sound that `config` describes.
fn timescale_of(config: &CodecConfig) -> u32 {
    config.audio().map_or(1, |format| format.timescale)
}
