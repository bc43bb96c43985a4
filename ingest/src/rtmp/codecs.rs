//! Codecs that FLV tags carry, and how each is configured.

use bytes::Bytes;
use scuffle_flv::audio::header::enhanced::AudioFourCc;
use scuffle_flv::video::header::enhanced::VideoFourCc;
use streams_media::{AacConfig, Av1Config, AvcConfig, CodecConfig, HevcConfig, MediaError, OpusConfig};

/// A video codec that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    Avc,
    Hevc,
    Av1,
    Vp9,
}

/// What a sequence header gives.
pub enum Configuration {
    /// All that a decoder needs.
    Whole(Result<CodecConfig, MediaError>),
    /// A record that says all but the picture's size.
    Vp9(Bytes),
}

impl VideoCodec {
    /// The codec of that name; `None` for one that is not taken.
    pub fn of(four_cc: VideoFourCc) -> Option<Self> {
        match four_cc {
            VideoFourCc::Avc => Some(Self::Avc),
            VideoFourCc::Hevc => Some(Self::Hevc),
            VideoFourCc::Av1 => Some(Self::Av1),
            VideoFourCc::Vp9 => Some(Self::Vp9),
            _ => None,
        }
    }

    /// The codec of a configuration; `None` for audio.
    pub fn used_by(config: &CodecConfig) -> Option<Self> {
        match config {
            CodecConfig::Avc(_) => Some(Self::Avc),
            CodecConfig::Hevc(_) => Some(Self::Hevc),
            CodecConfig::Av1(_) => Some(Self::Av1),
            CodecConfig::Vp9(_) => Some(Self::Vp9),
            CodecConfig::Aac(_) | CodecConfig::Opus(_) => None,
        }
    }

    /// Its coded frames begin with a composition time offset (Enhanced RTMP: H.264 and H.265).
    pub fn has_composition_time(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc)
    }

    /// Reads a sequence header.
    pub fn configuration(self, record: Bytes) -> Configuration {
        Configuration::Whole(match self {
            Self::Avc => AvcConfig::parse(record).map(CodecConfig::Avc),
            Self::Hevc => HevcConfig::parse(record).map(CodecConfig::Hevc),
            Self::Av1 => Av1Config::parse(record).map(CodecConfig::Av1),
            Self::Vp9 => return Configuration::Vp9(record),
        })
    }
}

/// An audio codec that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioCodec {
    Aac,
    Opus,
}

impl AudioCodec {
    /// The codec of that name; `None` for one that is not taken.
    pub fn of(four_cc: AudioFourCc) -> Option<Self> {
        match four_cc {
            AudioFourCc::Aac => Some(Self::Aac),
            AudioFourCc::Opus => Some(Self::Opus),
            _ => None,
        }
    }

    /// Reads a sequence header.
    ///
    /// # Errors
    /// As the configuration of each codec.
    pub fn configuration(self, header: Bytes) -> Result<CodecConfig, MediaError> {
        match self {
            Self::Aac => AacConfig::parse(header).map(CodecConfig::Aac),
            Self::Opus => OpusConfig::parse(&header).map(CodecConfig::Opus),
        }
    }
}
