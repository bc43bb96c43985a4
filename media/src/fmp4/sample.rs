//! One access unit in a chunk, and what is said of it.

use bytes::Bytes;

/// One access unit in a chunk. Times are in the track's timescale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// How long it is shown or heard.
    pub duration: u32,
    /// Whether a decoder can start with it.
    pub flags: SampleFlags,
    /// Presentation time less decoding time, signed (`trun` version 1).
    pub composition: i32,
    /// Its bytes.
    pub data: Bytes,
}

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1), as far as they say where a decoder can start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleFlags(pub u32);

impl SampleFlags {
    /// Depends on no other, is a sync sample.
    pub const SYNC: Self = Self(0x0200_0000);
    /// Depends on others, is no sync sample.
    pub const DELTA: Self = Self(0x0101_0000);
    /// The same, and leading with a dependency before the group's first picture (`is_leading` 1): who starts there leaves it out.
    pub const LEADING: Self = Self(0x0501_0000);

    /// A decoder can start with the sample.
    pub fn is_sync(self) -> bool {
        self.0 & 0x0001_0000 == 0
    }

    /// The sample is shown before the sync sample that it follows, and needs what was decoded before that one (`is_leading` 1).
    pub fn is_leading(self) -> bool {
        self.0 >> 26 & 0b11 == 1
    }
}

/// What a sample has that its fragment does not describe (`trex`, ISO/IEC 14496-12 §8.8.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleDefaults {
    /// Duration, ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Flags.
    pub flags: SampleFlags,
}
