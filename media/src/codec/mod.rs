//! What decoders have to be told: codec configurations, what is read from them, and their RFC 6381 strings.

mod aac;
mod av1;
mod avc;
mod bits;
mod hevc;
mod nal;
mod opus;
mod vp9;

use std::sync::Arc;

pub use aac::AacConfig;
pub use av1::Av1Config;
pub use avc::{AvcConfig, NalScan};
use bytes::Bytes;
pub use hevc::HevcConfig;
pub use opus::{OPUS_RATE, OpusConfig};
pub use vp9::Vp9Config;

use crate::{MediaKind, RandomAccess};

/// What a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq)]
pub enum CodecConfig {
    /// H.264 with out-of-band parameter sets.
    Avc(AvcConfig),
    /// H.265 with out-of-band parameter sets.
    Hevc(HevcConfig),
    /// AV1.
    Av1(Av1Config),
    /// VP9.
    Vp9(Vp9Config),
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

/// What is shown of a video track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Width in luma samples, after cropping.
    pub width: u32,
    /// Height in luma samples, after cropping.
    pub height: u32,
    /// Frames a second, when the configuration says them.
    pub framerate: Option<f64>,
}

impl CodecConfig {
    /// Video or audio.
    pub fn kind(&self) -> MediaKind {
        match self {
            Self::Avc(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp9(_) => MediaKind::Video,
            Self::Aac(_) | Self::Opus(_) => MediaKind::Audio,
        }
    }

    /// What is shown; `None` for audio.
    pub fn picture(&self) -> Option<Picture> {
        match self {
            Self::Avc(avc) => Some(avc.picture()),
            Self::Hevc(hevc) => Some(hevc.picture()),
            Self::Av1(av1) => Some(av1.picture()),
            Self::Vp9(vp9) => Some(vp9.picture()),
            Self::Aac(_) | Self::Opus(_) => None,
        }
    }

    /// The configuration record, byte for byte as it came; `None` for Opus, of which only the fields are kept.
    pub fn record(&self) -> Option<&Bytes> {
        match self {
            Self::Avc(avc) => Some(avc.record()),
            Self::Hevc(hevc) => Some(hevc.record()),
            Self::Av1(av1) => Some(av1.record()),
            Self::Vp9(vp9) => Some(vp9.record()),
            Self::Aac(aac) => Some(aac.asc()),
            Self::Opus(_) => None,
        }
    }

    /// Whether decoding can start at an access unit; `None` when it is no whole one. `key_hint`: the container calls it a key
    /// frame.
    pub fn access(&self, access_unit: &[u8], key_hint: bool) -> Option<RandomAccess> {
        match self {
            Self::Avc(avc) => {
                let scan = avc.scan(access_unit, key_hint);
                (scan.whole && (scan.idr || scan.slice)).then(|| scan.access())
            }
            Self::Hevc(hevc) => hevc.access(access_unit),
            Self::Av1(av1) => av1.access(access_unit),
            Self::Vp9(_) => Vp9Config::access(access_unit),
            Self::Aac(_) | Self::Opus(_) => (!access_unit.is_empty()).then_some(RandomAccess::Closed),
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
            Self::Hevc(hevc) => hevc.codec(),
            Self::Av1(av1) => av1.codec(),
            Self::Vp9(vp9) => vp9.codec(),
            Self::Aac(aac) => aac.codec(),
            Self::Opus(opus) => opus.codec(),
        }
    }

    /// Of sound; `None` for pictures.
    pub fn audio(&self) -> Option<AudioFormat> {
        match self {
            Self::Avc(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp9(_) => None,
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
            Self::Avc(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp9(_) => None,
            Self::Aac(aac) => Some(aac.frame_len()),
            Self::Opus(_) => opus::packet_samples(frame),
        }
    }
}
