//! ISO base media file boxes: init segments and chunks by CMAF's rules (ISO/IEC 23000-19).

mod chunk;
mod init;

pub use chunk::{Sample, write_chunk};
pub use init::{write_audio_init, write_video_init};

/// Ticks a second of video tracks: every usual frame rate and FLV's milliseconds are whole numbers of them.
pub const VIDEO_TIMESCALE: u32 = 90_000;
/// Track ids differ, so that a recorder may put both tracks into one file as they are.
pub const VIDEO_TRACK_ID: u32 = 1;
/// See [`VIDEO_TRACK_ID`].
pub const AUDIO_TRACK_ID: u32 = 2;

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on no other, is a sync sample.
pub const SAMPLE_FLAGS_SYNC: u32 = 0x0200_0000;
/// Depends on others, is no sync sample.
pub const SAMPLE_FLAGS_DELTA: u32 = 0x0101_0000;
/// The same, and leading with a dependency before the group's first picture (`is_leading` 1): who starts there leaves it out.
pub const SAMPLE_FLAGS_LEADING: u32 = 0x0501_0000;
