//! What passes between the demuxers, the normaliser, the packager and the transcoder.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::CodecConfig;

/// Video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
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
