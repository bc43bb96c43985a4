//! What media is, between whoever brings it and whoever plays it: bytes and times go in, values and bytes come out.
//!
//! ```text
//!   demuxers (ingest) --> AccessUnit { times, data, CodecConfig } --> packager (ingest) --+
//!                                      | a codec's configuration:                         |
//!                                      |   sizes, rates, RFC 6381 string                  |
//!                                      v                                                  v
//!                  fmp4::write_video_init / write_audio_init                      fmp4::write_chunk
//!                                      |                                                  |
//!            catalog::Catalog <-- init segment (ftyp moov)                        chunk (moof mdat) --> Timeline
//!              |      |                |                                                  |   (group, object) <->
//!        .catalog   catalog (MSF)      v                                                  v   media time <-> wall clock
//!              |              fmp4::InitSegment <------- viewers, recorders, tests ---> fmp4::Chunk
//!              v
//!        Catalog::from_json
//! ```
//!
//! There is one implementation of each: the packager writes with [`fmp4`], and the native viewer, the bench and the tests read
//! with it. Nothing here knows a socket, a clock, a runtime or another crate of this project. Everything that is read may come
//! from an outsider: readers walk it once, hold no more than a fixed bound, and refuse the rest by name.

pub mod catalog;
mod codec;
mod error;
pub mod fmp4;
pub mod fuzzing;
pub mod movie;
mod timeline;
mod unit;

pub use codec::{
    AacConfig, AudioFormat, Av1Config, AvcConfig, CodecConfig, HevcConfig, NalScan, OPUS_RATE, OpusConfig, Picture,
    Vp9Config,
};
pub use error::MediaError;
pub use timeline::{Moment, Position, Timeline, TimelineCounters, TimelineLimits};
pub use unit::{AccessUnit, MediaKind, RandomAccess};
