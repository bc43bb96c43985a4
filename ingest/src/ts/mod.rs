//! MPEG transport streams (ISO/IEC 13818-1) to access units, as they come by SRT.
//!
//! ```text
//!   bytes --> framer: packets of 188 bytes --> tables: PAT, PMT --> which PID is what
//!                                      '-----> pes: one PES packet of a PID --> h264: Annex B to AVCC, parameter sets --> unit
//!                                                                           '-> adts | latm: frames of AAC -----------> units
//! ```
//!
//! **Tracks.** The first program counts, in it the first video and the first audio stream of a kind that is carried on; further ones
//! are told of once and left out. A program whose every video (or audio) stream is of another codec ends the session with that codec's
//! name.
//!
//! **Faults.** A gap in a PID's continuity counter costs the PES packet that it tore, never the session: the next one is used again.
//! Bytes that are no packet are skipped until packets come again. Times wrap after 2^33 ticks of 90 kHz (26.5 h) and go on; jumps
//! are left to the normaliser.
//!
//! **Memory.** One video PES packet of 8 MiB, one of audio of 64 KiB, two tables of 4 KiB, whatever comes.

mod adts;
mod bits;
mod clock;
mod demuxer;
mod framer;
mod latm;
mod pes;
mod tables;

pub use demuxer::{TsCounters, TsDemuxer, TsEvent};
