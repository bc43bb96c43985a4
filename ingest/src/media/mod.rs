//! What passes between the demuxers, the normaliser and the packager.

mod aac;
mod avc;
mod bits;
mod nal;

use std::sync::Arc;

use bytes::Bytes;

pub use aac::AacConfig;
pub use avc::AvcConfig;

/// Video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// What a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq)]
pub enum CodecConfig {
    /// H.264 with out-of-band parameter sets.
    Avc(AvcConfig),
    /// AAC.
    Aac(AacConfig),
}

impl CodecConfig {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        match self {
            Self::Avc(_) => MediaKind::Video,
            Self::Aac(_) => MediaKind::Audio,
        }
    }

    /// True when two units need the same decoder set-up. Units of one connection share the `Arc`, so that this is a comparison of
    /// pointers nearly always.
    pub(crate) fn same(a: &Arc<Self>, b: &Arc<Self>) -> bool {
        Arc::ptr_eq(a, b) || a == b
    }

    /// RFC 6381 codec string.
    pub fn codec(&self) -> &str {
        match self {
            Self::Avc(avc) => avc.codec(),
            Self::Aac(aac) => aac.codec(),
        }
    }
}

/// Whether a decoder that has seen nothing before can start at a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomAccess {
    /// It cannot.
    None,
    /// It can, and everything that follows can be shown: an H.264 IDR picture (NAL unit type 5), every AAC frame.
    Closed,
    /// It can, but pictures that follow and are shown before this one may need what came before: an H.264 picture with a recovery
    /// point (SEI payload type 6), or one of I slices alone that the container calls a key frame.
    Open,
}

impl RandomAccess {
    /// True when decoding can start here.
    pub fn is_start(self) -> bool {
        self != Self::None
    }
}

/// One coded picture (all slices) or one coded audio frame.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// Presentation time in microseconds: the source's own time before the normaliser, broadcast time after it.
    pub pts_us: i64,
    /// Decoding time in microseconds, same clock. A source that has none repeats `pts_us` here.
    pub dts_us: i64,
    /// Whether decoding can start here.
    pub access: RandomAccess,
    /// H.264: NAL units with length prefixes as the configuration record says. AAC: the raw data block.
    pub data: Bytes,
    /// The configuration in force. Units of one configuration share one `Arc`.
    pub config: Arc<CodecConfig>,
}

impl AccessUnit {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        self.config.kind()
    }
}

/// What the encoder says of its own stream (`onMetaData`). Everything is a hint; zero and nonsense values are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamMetadata {
    /// True, false: the encoder announces (no) video. `None`: it does not say.
    pub has_video: Option<bool>,
    /// The same for audio.
    pub has_audio: Option<bool>,
    /// Picture width in pixels.
    pub width: Option<u32>,
    /// Picture height in pixels.
    pub height: Option<u32>,
    /// Frames a second.
    pub framerate: Option<f64>,
    /// Video bits a second.
    pub video_bitrate: Option<u64>,
    /// Audio bits a second.
    pub audio_bitrate: Option<u64>,
    /// The encoder's name.
    pub encoder: Option<String>,
}
