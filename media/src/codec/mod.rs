//! What decoders have to be told: codec configurations, what is read from them, and their RFC 6381 strings.

mod aac;
mod avc;
mod bits;
mod nal;

use std::sync::Arc;

pub use aac::AacConfig;
pub use avc::{AvcConfig, NalScan};

use crate::MediaKind;

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
    pub fn same(a: &Arc<Self>, b: &Arc<Self>) -> bool {
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
