//! What decoders have to be told: codec configurations, what is read from them, and their RFC 6381 strings.

mod aac;
mod avc;
mod bits;
mod nal;
mod opus;

use std::sync::Arc;

pub use aac::AacConfig;
pub use avc::{AvcConfig, NalScan};
pub use opus::{OPUS_RATE, OpusConfig};

use crate::MediaKind;

/// What a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq)]
pub enum CodecConfig {
    /// H.264 with out-of-band parameter sets.
    Avc(AvcConfig),
    /// AAC.
    Aac(AacConfig),
    /// Opus.
    Opus(OpusConfig),
}

/// What sound is, whatever codes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFormat {
    /// Ticks a second of the track: samples of the core coder.
    pub timescale: u32,
    /// Samples a second that a decoder puts out.
    pub output_rate: u32,
    /// Channels that a decoder puts out.
    pub channels: u32,
}

impl CodecConfig {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        match self {
            Self::Avc(_) => MediaKind::Video,
            Self::Aac(_) | Self::Opus(_) => MediaKind::Audio,
        }
    }

    /// True when two units need the same decoder set-up. Units of one connection share the `Arc`, so that this is a comparison of
    /// pointers nearly always.
    pub fn same(a: &Arc<Self>, b: &Arc<Self>) -> bool {
        Arc::ptr_eq(a, b) || a == b
    }

    /// RFC 6381 codec string.
    pub fn codec(&self) -> &str {
        match self {
            Self::Avc(avc) => avc.codec(),
            Self::Aac(aac) => aac.codec(),
            Self::Opus(opus) => opus.codec(),
        }
    }

    /// Of sound; `None` for pictures.
    pub fn audio(&self) -> Option<AudioFormat> {
        match self {
            Self::Avc(_) => None,
            Self::Aac(aac) => Some(AudioFormat {
                timescale: aac.core_rate(),
                output_rate: aac.output_rate(),
                channels: aac.channels(),
            }),
            Self::Opus(opus) => {
                Some(AudioFormat { timescale: OPUS_RATE, output_rate: OPUS_RATE, channels: opus.channels() })
            }
        }
    }

    /// How long an audio frame plays, in ticks of the track; `None` for pictures, and for what is no frame.
    pub fn frame_len(&self, frame: &[u8]) -> Option<u32> {
        match self {
            Self::Avc(_) => None,
            Self::Aac(aac) => Some(aac.frame_len()),
            Self::Opus(_) => opus::packet_samples(frame),
        }
    }
}
