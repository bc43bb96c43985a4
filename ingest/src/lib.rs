//! From an encoder's bytes to CMAF chunks, without a socket or a clock: bytes and the time go in, events and objects come out.
//!
//! ```text
//!   TCP bytes --> Session (RTMP) ----.
//!   datagrams --> Session (SRT, TS) --+--> AccessUnit (raw times) --> Normaliser --> AccessUnit (broadcast time)
//!                      |    ^                                                        |
//!      poll_transmit() <-+  +-- answer()                                             v
//!                                                                                Packager
//!                                                                                    |
//!       tracks, init segments, moof+mdat objects, group ends, catalogs <-- poll_output()
//! ```
//!
//! One [`Session`] lives as long as one connection; [`Normaliser`] and [`Packager`] live as long as the broadcast and
//! go on over reconnects of the encoder ([`Normaliser::reconnect`], [`Packager::reconnect`]). What an access unit, a codec
//! configuration, a catalog and a chunk are is `streams-media`.

mod annex_b;
mod error;
pub mod fuzzing;
mod metadata;
mod normaliser;
mod packager;
pub mod rtmp;
mod session;
pub mod srt;
pub mod ts;
pub mod whip;

pub use error::IngestError;
pub use metadata::StreamMetadata;
pub use normaliser::{Dropped, Normaliser, NormaliserConfig, NormaliserCounters};
pub use packager::{Output, Packager, PackagerConfig, PackagerCounters};
pub use rtmp::{Notice, RtmpCounters, RtmpLimits, RtmpSession};
pub use session::{Answer, LinkStats, Protocol, PublishRequest, Refusal, Session, SessionEvent};
pub use srt::{SrtFront, SrtLimits, SrtRoute, SrtSession};
pub use ts::{TsCounters, TsDemuxer, TsEvent};
pub use whip::{IceFragment, WhipSession};
