//! Why media cannot be read or written.

/// What is wrong with media. The message is for people: it says what was found and, where somebody can change it, what to do.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A decoder's configuration that cannot be used.
    #[error("{what} is malformed: {reason}")]
    Config {
        /// Which one: `AVC sequence header`, `AAC sequence header` or `Opus header`.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kind of AAC that nothing here plays.
    #[error("audio codec {codec} is not supported; send AAC")]
    AudioCodec {
        /// Its name, with its number.
        codec: String,
    },
    /// A catalog is longer than any that is read.
    #[error("catalog of {len} bytes exceeds the limit of {len_max}; publish fewer tracks or shorter init segments")]
    CatalogLen {
        /// Length of the document in bytes.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// A catalog of a version that this build does not know.
    #[error("catalog version {version} is not supported; this side speaks version {known}")]
    CatalogVersion {
        /// The document's version.
        version: u32,
        /// The one that is read.
        known: u32,
    },
    /// A catalog is no JSON of its shape.
    #[error("catalog is malformed: {0}")]
    CatalogJson(#[from] serde_json::Error),
    /// A track's init segment in a catalog is no base64.
    #[error("init segment of track {track} is malformed: {reason}")]
    CatalogInit {
        /// The track's name.
        track: String,
        /// What the decoder of base64 said.
        reason: base64::DecodeError,
    },
    /// A box is needed and not there.
    #[error("the media has no {0} box")]
    MissingBox(&'static str),
    /// A box says something impossible, or something that is more than any segment has.
    #[error("the media is malformed: {0}")]
    Malformed(&'static str),
    /// An init segment or a chunk cannot be written.
    #[error("CMAF could not be written: {0}")]
    Write(#[from] mp4_atom::Error),
}
