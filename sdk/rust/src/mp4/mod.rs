//! One fragmented MP4 out of the CMAF tracks of a broadcast.
//!
//! Init segments are merged into one `moov`; chunks get the merged track's number, a running sequence number and times that
//! begin at zero. What boxes are is `streams_media::fmp4`; in which order and at what time chunks lie in the file is decided here.

#[cfg(test)]
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use writer::Mp4Writer;
