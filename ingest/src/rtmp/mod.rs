//! RTMP ingest: one encoder's connection as a state machine.

mod limits;
mod session;

pub use limits::RtmpLimits;
pub use session::{RtmpEvent, RtmpSession};
