//! H.264: the configuration record, the sequence parameter set in it, and NAL units.

use bytes::Bytes;
use mp4_atom::{Atom as _, Avcc};
use scuffle_h264::Sps;

use super::nal;
use crate::{MediaError, RandomAccess};

/// NAL units of one access unit: a key frame of 8 MiB in slices of 1 KiB.
const NAL_UNITS_MAX: usize = 8192;
/// Slices of a key frame whose type is looked at.
const SLICES_READ_MAX: usize = 64;
/// Bytes of SEI messages looked at in one access unit; x264 signs with about 700.
const SEI_LEN_MAX: usize = 4096;
/// A sequence header in real life has less than 200 bytes.
const RECORD_LEN_MAX: usize = 16 * 1024;

/// Profiles whose record ends with the chroma format and the sample sizes (ISO/IEC 14496-15 §5.3.3.1.2).
const PROFILES_WITH_CHROMA: [u8; 4] = [100, 110, 122, 144];

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
    /// [`MediaError::Config`] when it has no sequence or no picture parameter set, or the former cannot be read.
    pub fn parse(record: Bytes) -> Result<Self, MediaError> {
        if record.len() > RECORD_LEN_MAX {
            return Err(MediaError::Config { what: WHAT, reason: "it is longer than 16 KiB" });
        }
        let parts = RecordParts::parse(&record).ok_or(MediaError::Config { what: WHAT, reason: "it is cut short" })?;
        let sps = Sps::parse_with_emulation_prevention(parts.sps)
            .map_err(|_| MediaError::Config { what: WHAT, reason: "its sequence parameter set cannot be read" })?;
        let Some((width, height)) = picture_size(&sps) else {
            return Err(MediaError::Config { what: WHAT, reason: "its picture size is out of range" });
        };
        let framerate = sps.frame_rate().filter(|rate| (1.0..=FRAMERATE_MAX).contains(rate));
        // What stands behind the parameter sets is only defined for the high profiles; encoders put odd bytes there too.
        let avcc = Avcc::decode_body(&mut record.as_ref())
            .or_else(|_| Avcc::decode_body(&mut record.get(..parts.sets_end).unwrap_or_default()))
            .map_err(|_| MediaError::Config { what: WHAT, reason: "its parameter sets cannot be read" })?;
        let [profile, compatibility, level] = parts.profile;
        let codec = format!("avc1.{profile:02X}{compatibility:02X}{level:02X}");
        Ok(Self { codec, avcc, nal_length_size: parts.nal_length_size, width, height, framerate, record })
    }

    /// The record of parameter sets that came in band, with length prefixes of four bytes.
    ///
    /// # Errors
    /// As [`AvcConfig::parse`].
    pub fn from_parameter_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, MediaError> {
        let cut = MediaError::Config { what: WHAT, reason: "it is cut short" };
        let Some([_, profile, compatibility, level, ..]) = sps.first().map(|set| set.as_ref()) else {
            return Err(cut);
        };
        let mut record = vec![1, *profile, *compatibility, *level, 0xff];
        let (sps_count, pps_count) = (u8::try_from(sps.len()), u8::try_from(pps.len()));
        let (Ok(sps_count @ 0..=31), Ok(pps_count)) = (sps_count, pps_count) else { return Err(cut) };
        record.push(0xe0 | sps_count);
        append_sets(&mut record, sps);
        record.push(pps_count);
        append_sets(&mut record, pps);
        if PROFILES_WITH_CHROMA.contains(profile) {
            let first = sps.first().map(|set| Sps::parse_with_emulation_prevention(set.as_ref()));
            let ext = first.and_then(|sps| sps.ok()?.ext);
            let (chroma, luma_bits, chroma_bits) = ext.map_or((1, 0, 0), |ext| {
                (ext.chroma_format_idc, ext.bit_depth_luma_minus8, ext.bit_depth_chroma_minus8)
            });
            record.extend([0xfc | (chroma & 3), 0xf8 | (luma_bits & 7), 0xf8 | (chroma_bits & 7), 0]);
        }
        Self::parse(record.into())
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

    /// What one access unit holds, read from its NAL unit headers. Stops at the first broken length, and after 8192 NAL units.
    /// `key_hint`: the container calls it a key frame, so its slices are looked at too.
    pub fn scan(&self, access_unit: &[u8], key_hint: bool) -> NalScan {
        let mut scan = NalScan { intra: key_hint, ..NalScan::default() };
        let (mut sei_left, mut slices_left) = (SEI_LEN_MAX, SLICES_READ_MAX);
        let mut rest = access_unit;
        for _ in 0..NAL_UNITS_MAX {
            let Some((prefix, tail)) = rest.split_at_checked(self.nal_length_size) else { break };
            let length = prefix.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
            let Some((unit, tail)) = tail.split_at_checked(length) else { return scan };
            match unit.first().map(|header| header & 0x1f) {
                Some(5) => scan.idr = true,
                Some(1..=4) => {
                    scan.slice = true;
                    if scan.intra && slices_left > 0 {
                        slices_left = slices_left.saturating_sub(1);
                        scan.intra = nal::is_intra_slice(unit);
                    }
                }
                Some(6) if !scan.recovery_point => {
                    let sei = unit.get(..sei_left).unwrap_or(unit);
                    sei_left = sei_left.saturating_sub(sei.len());
                    scan.recovery_point = nal::has_recovery_point(sei);
                }
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
    /// A recovery point SEI message.
    pub recovery_point: bool,
    /// The container's key frame, and every slice is an I slice.
    pub intra: bool,
    /// Every length prefix fits.
    pub whole: bool,
}

impl NalScan {
    /// Whether decoding can start here.
    pub fn access(&self) -> RandomAccess {
        match self {
            Self { idr: true, .. } => RandomAccess::Closed,
            Self { recovery_point: true, .. } | Self { intra: true, slice: true, .. } => RandomAccess::Open,
            _ => RandomAccess::None,
        }
    }
}

/// Parameter sets with their lengths.
fn append_sets(record: &mut Vec<u8>, sets: &[Bytes]) {
    for set in sets {
        record.extend(u16::try_from(set.len()).unwrap_or(u16::MAX).to_be_bytes());
        record.extend_from_slice(set);
    }
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

/// Width and height of the shown picture (H.264 §7.4.2.1.1: cropping is in units of chroma samples and of field rows); `None`
/// when one is out of range.
fn picture_size(sps: &Sps) -> Option<(u32, u32)> {
    let chroma =
        sps.ext.as_ref().map_or(1, |ext| if ext.separate_color_plane_flag { 0 } else { ext.chroma_format_idc });
    // The flag is only there when frames may be coded as fields.
    let rows: u64 = if sps.mb_adaptive_frame_field_flag.is_some() { 2 } else { 1 };
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2 * rows),
        2 => (2, rows),
        _ => (1, rows),
    };
    let side = |blocks_minus1: u64, rows: u64, crop: u64| {
        let coded = blocks_minus1.checked_add(1)?.checked_mul(16)?.checked_mul(rows)?;
        u32::try_from(coded.checked_sub(crop)?).ok().filter(|side| (1..=SIDE_MAX).contains(side))
    };
    let (crop_x, crop_y) = match &sps.frame_crop_info {
        Some(crop) => (
            crop.frame_crop_left_offset.checked_add(crop.frame_crop_right_offset)?.checked_mul(unit_x)?,
            crop.frame_crop_top_offset.checked_add(crop.frame_crop_bottom_offset)?.checked_mul(unit_y)?,
        ),
        None => (0, 0),
    };
    Some((side(sps.pic_width_in_mbs_minus1, 1, crop_x)?, side(sps.pic_height_in_map_units_minus1, rows, crop_y)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of x264 for sizes that are no whole number of macroblocks.
    #[test]
    fn cropping_counts_in_the_units_of_the_chroma_and_field_format() {
        let records = [
            (
                "0164001effe1001a6764001eacd940d83de6f011000003000100000300320f162d9601000668ebe3cb22c0fdf8f800",
                854,
                480,
            ),
            // Coded as fields: 1080 lines are cropped from 68 rows of macroblocks in steps of four.
            (
                "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800",
                1920,
                1080,
            ),
            // 4:2:2 and 4:4:4.
            (
                "017a0028ffe1001b677a0028bcd940780227e27011000003000100000300320f18319601000668ebe3cb22c0fef8f800",
                1920,
                1080,
            ),
            (
                "01f4001effe1001b67f4001e919b281b07bc5f80880000030008000003019078b16cb001000668ebe3c44844fff8f800",
                854,
                480,
            ),
        ];
        for (hex, width, height) in records {
            let bytes = hex.as_bytes().chunks(2).map(|pair| {
                let digits = std::str::from_utf8(pair).expect("hex digits");
                u8::from_str_radix(digits, 16).expect("hex digits")
            });
            let config = AvcConfig::parse(bytes.collect()).expect("a record of x264");
            assert_eq!((config.width(), config.height()), (width, height), "{hex}");
        }
    }
}
