//! Frames of RTP to access units.

use std::sync::Arc;

use bytes::Bytes;
use streams_media::{AccessUnit, CodecConfig, OpusConfig, RandomAccess};

use crate::IngestError;
use crate::annex_b::AnnexB;

/// Pictures of one session.
#[derive(Debug, Default)]
pub struct VideoFrames {
    annex_b: AnnexB,
    /// Pictures were lost for good; what follows cannot be decoded before the next start.
    torn: bool,
    /// Pictures that were left out for it.
    pub left_out: u64,
}

impl VideoFrames {
    /// Pictures before this one are missing.
    pub fn lost(&mut self) {
        self.torn = true;
    }

    /// A start is wanted.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// The access units of one frame with start codes; none while nothing can be decoded.
    ///
    /// # Errors
    /// [`IngestError::Media`] for parameter sets that cannot be used.
    pub fn units(&mut self, time_us: i64, frame: &[u8]) -> Result<Vec<AccessUnit>, IngestError> {
        let mut units = Vec::new();
        for picture in self.annex_b.split(frame)? {
            let Some(config) = picture.config else {
                self.torn = true;
                self.left_out = self.left_out.saturating_add(1);
                continue;
            };
            let CodecConfig::Avc(avc) = config.as_ref() else { continue };
            let scan = avc.scan(&picture.data, false);
            let access = scan.access();
            self.torn &= !access.is_start();
            if self.torn || !(scan.idr || scan.slice) {
                self.left_out = self.left_out.saturating_add(1);
                continue;
            }
            units.push(AccessUnit { pts_us: time_us, dts_us: time_us, access, data: picture.data, config });
        }
        Ok(units)
    }
}

/// Sound of one session.
#[derive(Debug)]
pub struct AudioFrames {
    config: Arc<CodecConfig>,
}

impl Default for AudioFrames {
    /// A decoder for two channels plays packets of one (RFC 7587 §4.4: receivers take both at any time).
    fn default() -> Self {
        Self { config: Arc::new(CodecConfig::Opus(OpusConfig::plain(true))) }
    }
}

impl AudioFrames {
    /// One packet of Opus; `None` when it is none.
    pub fn unit(&self, time_us: i64, packet: &[u8]) -> Option<AccessUnit> {
        self.config.frame_len(packet)?;
        let (access, data, config) = (RandomAccess::Closed, Bytes::copy_from_slice(packet), Arc::clone(&self.config));
        Some(AccessUnit { pts_us: time_us, dts_us: time_us, access, data, config })
    }
}
