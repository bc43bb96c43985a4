//! RTMP ingest: one encoder's connection as a state machine.
//!
//! ```text
//!   bytes --> rtmp-runtime (handshake, chunks, commands) --> FLV tags --> flv (H.264, AAC) --> access units
//!                 |
//!                 +--> publish --> key --> RtmpEvent::Publish, then silence until accept() or reject()
//! ```
//!
//! Protocol and chunk bounds: a message has at most 8 MiB, a connection at most 64 chunk streams, a chunk size announced above
//! 16 MiB counts as 16 MiB. [`RtmpLimits`] adds what a connection may make the server hold and write.

mod flv;
mod key;
mod limits;
mod metadata;
mod session;
mod status;

pub use flv::RtmpCounters;
pub use limits::RtmpLimits;
pub use session::{RtmpEvent, RtmpSession};
