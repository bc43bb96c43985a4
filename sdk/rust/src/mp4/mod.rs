//! One fragmented MP4 out of the CMAF tracks of a broadcast.
//!
//! Init segments are merged into one `moov`; chunks get the merged track's number, a running sequence number and times that
//! begin at zero. Sizes never change, so offsets inside a chunk stay right and samples are not copied apart.

mod boxes;
pub(crate) mod chunk;
#[cfg(test)]
pub(crate) mod handmade;
pub(crate) mod init;
#[cfg(test)]
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use init::same_decoder;
pub(crate) use writer::{Mp4Writer, TrackRole, media_time};

/// Why media cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mp4Error {
    /// A box is needed and not there.
    #[error("the media has no {0} box")]
    Missing(&'static str),
    /// A box says something impossible.
    #[error("the media is malformed: {0}")]
    Malformed(&'static str),
}
