//! AAC: the AudioSpecificConfig.

use bytes::Bytes;

use crate::IngestError;

/// An AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1), kept byte for byte, with what was read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct AacConfig {
    asc: Bytes,
    codec: String,
    core_rate: u32,
    output_rate: u32,
    channels: u32,
    frame_len: u32,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// [`IngestError::Config`] when it is cut short or describes no channels.
    pub fn parse(asc: Bytes) -> Result<Self, IngestError> {
        Err(IngestError::Config {
            what: "AAC sequence header",
            reason: if asc.is_empty() { "it is empty" } else { "it is cut short" },
        })
    }

    /// The AudioSpecificConfig, byte for byte as it came.
    pub fn asc(&self) -> &Bytes {
        &self.asc
    }

    /// `mp4a.40.2`, or `.5` / `.29` with explicit SBR / PS.
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// Samples a second of the core coder: the track's timescale.
    pub fn core_rate(&self) -> u32 {
        self.core_rate
    }

    /// Samples a second that a decoder puts out: twice the core's with explicit SBR.
    pub fn output_rate(&self) -> u32 {
        self.output_rate
    }

    /// Channels that a decoder puts out.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Core samples of one frame: 1024 or 960.
    pub fn frame_len(&self) -> u32 {
        self.frame_len
    }
}
