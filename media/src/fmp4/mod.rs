//! Fragmented MP4: init segments and chunks by CMAF's rules (ISO/IEC 23000-19), written and read.
//!
//! ```text
//!   write_video_init, write_audio_init --> ftyp moov  --> InitSegment { timescale, defaults } --> merge: one moov of several tracks
//!   write_chunk(samples)               --> moof mdat  --> Chunk { decode_time, end_time, flags } --> samples()
//!                                                                                  |
//!                                                                  rewrite(): the same chunk in another file
//! ```
//!
//! The writer makes one `moof` and one `mdat` a chunk. The reader takes what others make too: several of them in an object,
//! defaults in `tfhd` and `trex`, either width of a time. It copies no sample.

mod boxes;
mod chunk;
mod chunk_writer;
mod init;
mod init_writer;
mod run;
mod sample;

pub use boxes::{BoxAt, Boxes, boxes};
pub use chunk::Chunk;
pub use chunk_writer::write_chunk;
pub use init::{InitSegment, merge, same_decoder};
pub use init_writer::{write_audio_init, write_video_init};
pub use sample::{Sample, SampleDefaults, SampleFlags};

/// Ticks a second of video tracks: every usual frame rate and FLV's milliseconds are whole numbers of them.
pub const VIDEO_TIMESCALE: u32 = 90_000;
/// Track ids differ, so that a recorder may put both tracks into one file as they are.
pub const VIDEO_TRACK_ID: u32 = 1;
/// See [`VIDEO_TRACK_ID`].
pub const AUDIO_TRACK_ID: u32 = 2;
