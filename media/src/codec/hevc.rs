//! H.265: the configuration record, the sequence parameter set in it, and what an access unit holds.

use bytes::Bytes;
use mp4_atom::{Atom as _, Hvcc};

use super::Picture;
use super::bits::BitReader;
use super::nal::{self, RECORD_LEN_MAX};
use crate::{MediaError, RandomAccess};

const WHAT: &str = "HEVC sequence header";
/// NAL unit types (ISO/IEC 23008-2 table 7-1).
const VCL_MAX: u8 = 31;
const BLA: std::ops::RangeInclusive<u8> = 16..=18;
const IDR: std::ops::RangeInclusive<u8> = 19..=20;
const CRA: u8 = 21;
const SPS: u8 = 33;
/// What is read of a sequence parameter set: it ends with the conformance window, which lies within 100 bytes.
const SPS_READ_MAX: usize = 128;
/// Bits of a profile, and of a whole `profile_tier_level` without sub-layers (§7.3.3).
const PROFILE_BITS: usize = 88;
const LEVEL_BITS: usize = 8;
const CHROMA_444: u32 = 3;

/// An `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1), kept byte for byte, with what was read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct HevcConfig {
    record: Bytes,
    hvcc: Box<Hvcc>,
    codec: String,
    nal_length_size: usize,
    picture: Picture,
}

impl HevcConfig {
    /// Reads a configuration record.
    ///
    /// # Errors
    /// [`MediaError::Config`] when it is cut short, or has no sequence parameter set that can be read.
    pub fn parse(record: Bytes) -> Result<Self, MediaError> {
        let bad = |reason| MediaError::Config { what: WHAT, reason };
        if record.len() > RECORD_LEN_MAX {
            return Err(bad("it is longer than 16 KiB"));
        }
        let mut hvcc = Hvcc::decode_body(&mut record.as_ref()).map_err(|_| bad("it is cut short"))?;
        let sets = hvcc.arrays.iter().filter(|array| array.nal_unit_type == SPS);
        let sps = sets.flat_map(|array| &array.nalus).next().ok_or(bad("it has no sequence parameter set"))?;
        let size = Size::read(sps).ok_or(bad("its sequence parameter set cannot be read"))?;
        let picture = size.picture().ok_or(bad("its picture size is out of range"))?;
        // `hvc1` says that parameter sets stand here and nowhere else.
        hvcc.arrays.iter_mut().for_each(|array| array.completeness = true);
        Ok(Self {
            codec: codec_string(&hvcc),
            nal_length_size: usize::from(hvcc.length_size_minus_one).saturating_add(1),
            hvcc: Box::new(hvcc),
            picture,
            record,
        })
    }

    /// The record, byte for byte as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The record as a box.
    pub(crate) fn hvcc(&self) -> &Hvcc {
        &self.hvcc
    }

    /// `hvc1.…` (ISO/IEC 14496-15 annex E.3).
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// What is shown.
    pub fn picture(&self) -> Picture {
        self.picture
    }

    /// Whether decoding can start at an access unit; `None` when a length does not fit or it holds no slice.
    pub fn access(&self, access_unit: &[u8]) -> Option<RandomAccess> {
        let mut access = None;
        for unit in nal::units(access_unit, self.nal_length_size) {
            let kind = unit?.first().map_or(VCL_MAX.saturating_add(1), |header| (header >> 1) & 0x3f);
            let found = match kind {
                kind if IDR.contains(&kind) => RandomAccess::Closed,
                // Pictures that are shown before these need what came before.
                kind if kind == CRA || BLA.contains(&kind) => RandomAccess::Open,
                0..=VCL_MAX => RandomAccess::None,
                _ => continue,
            };
            access = access.or(Some(found));
        }
        access
    }
}

fn codec_string(hvcc: &Hvcc) -> String {
    let space = ["", "A", "B", "C"].get(usize::from(hvcc.general_profile_space)).copied().unwrap_or("");
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut codec =
        format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", hvcc.general_profile_idc, hvcc.general_level_idc);
    let constraints = hvcc.general_constraint_indicator_flags;
    let len = constraints.iter().rposition(|flags| *flags != 0).map_or(0, |last| last.saturating_add(1));
    for flags in constraints.iter().take(len) {
        codec.push_str(&format!(".{flags:X}"));
    }
    codec
}

/// What a sequence parameter set says of the picture's size (§7.3.2.2.1).
struct Size {
    chroma: u32,
    separate_planes: bool,
    width: u32,
    height: u32,
    /// Left, right, top, bottom, in chroma samples.
    window: [u32; 4],
}

impl Size {
    /// Reads a NAL unit up to its conformance window.
    fn read(unit: &[u8]) -> Option<Self> {
        // The header has two bytes, of which one is passed over already.
        let bytes: Vec<u8> = nal::payload(unit).skip(1).take(SPS_READ_MAX).collect();
        let mut bits = BitReader::new(&bytes);
        bits.read(4)?;
        let sub_layers = bits.read(3)?;
        bits.read(1)?;
        pass_profile_tier_level(&mut bits, sub_layers)?;
        let _id = bits.read_exp_golomb()?;
        let chroma = bits.read_exp_golomb()?;
        let separate_planes = chroma == CHROMA_444 && bits.read(1)? == 1;
        let (width, height) = (bits.read_exp_golomb()?, bits.read_exp_golomb()?);
        let mut window = [0; 4];
        if bits.read(1)? == 1 {
            for side in &mut window {
                *side = bits.read_exp_golomb()?;
            }
        }
        Some(Self { chroma, separate_planes, width, height, window })
    }

    /// The picture after cropping (§7.4.3.2.1); `None` when a side is out of range. Its rate is the container's to say.
    fn picture(&self) -> Option<Picture> {
        let (unit_x, unit_y) = match (self.separate_planes, self.chroma) {
            (false, 1) => (2, 2),
            (false, 2) => (2, 1),
            _ => (1, 1),
        };
        let side = |coded: u32, one: u32, other: u32, unit: u64| {
            let cropped = (u64::from(one) + u64::from(other)).checked_mul(unit)?;
            nal::side(u64::from(coded).checked_sub(cropped)?)
        };
        let [left, right, top, bottom] = self.window;
        let (width, height) = (side(self.width, left, right, unit_x)?, side(self.height, top, bottom, unit_y)?);
        Some(Picture { width, height, framerate: None })
    }
}

/// Moves on behind `profile_tier_level(1, sub_layers)` (§7.3.3).
fn pass_profile_tier_level(bits: &mut BitReader<'_>, sub_layers: u32) -> Option<()> {
    pass(bits, PROFILE_BITS + LEVEL_BITS)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.read(1)? == 1, bits.read(1)? == 1));
    }
    if sub_layers > 0 {
        // Reserved, up to eight sub-layers.
        pass(bits, 2 * (8usize.saturating_sub(present.len())))?;
    }
    for (profile, level) in present {
        pass(bits, if profile { PROFILE_BITS } else { 0 })?;
        pass(bits, if level { LEVEL_BITS } else { 0 })?;
    }
    Some(())
}

fn pass(bits: &mut BitReader<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| bits.read(1).map(drop))
}
