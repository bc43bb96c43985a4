//! H.264: the configuration record, the sequence parameter set in it, and NAL units.

use bytes::Bytes;
use mp4_atom::{Atom as _, Avcc};

use crate::IngestError;

const WHAT: &str = "AVC sequence header";
/// Level 6.2 allows 139 264 macroblocks; no picture is longer than this on one side.
const SIDE_MAX: u32 = 16_384;
/// Frame rates outside are a VUI that lies (or counts fields).
const FRAMERATE_MAX: f64 = 480.0;

/// An `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1), kept byte for byte, with what was read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct AvcConfig {
    record: Bytes,
    avcc: Avcc,
    codec: String,
    nal_length_size: usize,
    width: u32,
    height: u32,
    framerate: Option<f64>,
}

impl AvcConfig {
    /// Reads a configuration record.
    ///
    /// # Errors
    /// [`IngestError::Config`] when it has no sequence or no picture parameter set, or the former cannot be read.
    pub fn parse(record: Bytes) -> Result<Self, IngestError> {
        let parts = RecordParts::parse(&record).ok_or(IngestError::Config { what: WHAT, reason: "it is cut short" })?;
        let sps = scuffle_h264::Sps::parse_with_emulation_prevention(parts.sps)
            .map_err(|_| IngestError::Config { what: WHAT, reason: "its sequence parameter set cannot be read" })?;
        let side = |value: u64| u32::try_from(value).ok().filter(|side| (1..=SIDE_MAX).contains(side));
        let (Some(width), Some(height)) = (side(sps.width()), side(sps.height())) else {
            return Err(IngestError::Config { what: WHAT, reason: "its picture size is out of range" });
        };
        let framerate = sps.frame_rate().filter(|rate| (1.0..=FRAMERATE_MAX).contains(rate));
        // What stands behind the parameter sets is only defined for the high profiles; encoders put odd bytes there too.
        let avcc = Avcc::decode_body(&mut record.as_ref())
            .or_else(|_| Avcc::decode_body(&mut record.get(..parts.sets_end).unwrap_or_default()))
            .map_err(|_| IngestError::Config { what: WHAT, reason: "its parameter sets cannot be read" })?;
        let [profile, compatibility, level] = parts.profile;
        let codec = format!("avc1.{profile:02X}{compatibility:02X}{level:02X}");
        Ok(Self { codec, avcc, nal_length_size: parts.nal_length_size, width, height, framerate, record })
    }

    /// The record, byte for byte as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The record as a box: its parameter sets byte for byte.
    pub(crate) fn avcc(&self) -> &Avcc {
        &self.avcc
    }

    /// `avc1.PPCCLL`.
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// Picture width in luma samples, after cropping.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Picture height in luma samples, after cropping.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Frames a second from the VUI timing, when there is one.
    pub fn framerate(&self) -> Option<f64> {
        self.framerate
    }

    /// What one access unit holds, read from its NAL unit headers. Stops at the first broken length.
    pub fn scan(&self, access_unit: &[u8]) -> NalScan {
        let mut scan = NalScan::default();
        let mut rest = access_unit;
        while let Some((prefix, tail)) = rest.split_at_checked(self.nal_length_size) {
            let length = prefix.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
            let Some((unit, tail)) = tail.split_at_checked(length) else {
                return scan;
            };
            match unit.first().map(|header| header & 0x1f) {
                Some(5) => scan.idr = true,
                Some(1..=4) => scan.slice = true,
                _ => {}
            }
            rest = tail;
        }
        scan.whole = rest.is_empty();
        scan
    }
}

/// What [`AvcConfig::scan`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NalScan {
    /// A slice of an IDR picture (NAL unit type 5).
    pub idr: bool,
    /// A slice of another picture (types 1 to 4).
    pub slice: bool,
    /// Every length prefix fits.
    pub whole: bool,
}

struct RecordParts<'a> {
    profile: [u8; 3],
    nal_length_size: usize,
    sps: &'a [u8],
    /// Where the parameter sets end in the record.
    sets_end: usize,
}

impl<'a> RecordParts<'a> {
    /// Walks the record; `None` when it is cut short, of another version, or lacks a parameter set.
    fn parse(record: &'a [u8]) -> Option<Self> {
        let [1, profile, compatibility, level, length_size, sps_count, rest @ ..] = record else { return None };
        let (sps, rest) = parameter_sets(rest, sps_count & 0x1f)?;
        let (pps_count, rest) = rest.split_first()?;
        let (_, rest) = parameter_sets(rest, *pps_count)?;
        let sets_end = record.len().saturating_sub(rest.len());
        let nal_length_size = usize::from(length_size & 0b11) + 1;
        Some(Self { profile: [*profile, *compatibility, *level], nal_length_size, sps, sets_end })
    }
}

/// The first of `count` parameter sets and what follows the last; `None` when there is none or they are cut short.
fn parameter_sets(mut rest: &[u8], count: u8) -> Option<(&[u8], &[u8])> {
    let mut first = None;
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (set, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        first = first.or(Some(set));
        rest = tail;
    }
    Some((first?, rest))
}
