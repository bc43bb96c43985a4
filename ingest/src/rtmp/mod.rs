//! RTMP ingest: one encoder's connection as a state machine.
//!
//! ```text
//!   bytes --> handshake --> chunks (messages) --> commands --> replies
//!                                |                   '--> publish --> key --> SessionEvent::Publish, then silence until
//!                                |                                            answer()
//!                                '--> flv (codecs), metadata --> access units, hints, notices
//! ```
//!
//! **Work.** A call works on 2 KiB and 256 messages at most, and every reader in it is linear in its bytes: so a connection costs
//! its shard some ten microseconds at a time, whatever its bytes are.
//!
//! **Memory.** A media message has at most 8 MiB, any other 64 KiB (longer metadata and unknown kinds are skipped unread), a
//! connection at most 64 chunk streams. [`RtmpLimits`] adds what a connection may make the server hold and write.

mod amf;
mod chunks;
mod codecs;
mod command;
pub(crate) mod flv;
mod key;
mod limits;
mod metadata;
mod names;
mod replies;
mod session;

pub use flv::RtmpCounters;
pub use limits::RtmpLimits;
pub use session::RtmpSession;
use streams_media::MediaKind;

/// What a broadcaster should be told although the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// This kind of media comes without its sequence header and cannot be used until that comes.
    ConfigMissing(MediaKind),
    /// The sequence header came after all.
    ConfigCame(MediaKind),
    /// One more track of this kind comes (Enhanced RTMP multitrack) and is left out. Told once.
    ExtraTrack(MediaKind),
}
