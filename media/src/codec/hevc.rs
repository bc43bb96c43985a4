//! H.265: the configuration record, the sequence parameter set in it, and what an access unit holds.

use bytes::Bytes;
use mp4_atom::{Atom as _, Hvcc};
use scuffle_h265::{SpsNALUnit, SpsRbsp};

use super::Picture;
use super::nal::{self, FRAMERATE_RANGE, RECORD_LEN_MAX};
use crate::{MediaError, RandomAccess};

const WHAT: &str = "HEVC sequence header";
/// NAL unit types (ISO/IEC 23008-2 table 7-1).
const VCL_MAX: u8 = 31;
const BLA: std::ops::RangeInclusive<u8> = 16..=18;
const IDR: std::ops::RangeInclusive<u8> = 19..=20;
const CRA: u8 = 21;
const SPS: u8 = 33;

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
        let sps = SpsNALUnit::parse(sps.as_slice()).map_err(|_| bad("its sequence parameter set cannot be read"))?;
        let picture = picture(&sps.rbsp).ok_or(bad("its picture size is out of range"))?;
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

/// The picture after cropping, which counts in chroma samples (§7.4.3.2.1); `None` when a side is out of range.
fn picture(sps: &SpsRbsp) -> Option<Picture> {
    let (unit_x, unit_y) = match (sps.separate_colour_plane_flag, sps.chroma_format_idc) {
        (false, 1) => (2, 2),
        (false, 2) => (2, 1),
        _ => (1, 1),
    };
    let window = &sps.conformance_window;
    let side = |coded: u64, one: u64, other: u64, unit: u64| {
        let cropped = one.checked_add(other)?.checked_mul(unit)?;
        nal::side(coded.checked_sub(cropped)?)
    };
    let width =
        side(sps.pic_width_in_luma_samples.get(), window.conf_win_left_offset, window.conf_win_right_offset, unit_x)?;
    let height =
        side(sps.pic_height_in_luma_samples.get(), window.conf_win_top_offset, window.conf_win_bottom_offset, unit_y)?;
    let timing = sps.vui_parameters.as_ref().and_then(|vui| vui.vui_timing_info.as_ref());
    let framerate = timing.map(|timing| f64::from(timing.time_scale.get()) / f64::from(timing.num_units_in_tick.get()));
    Some(Picture { width, height, framerate: framerate.filter(|rate| FRAMERATE_RANGE.contains(rate)) })
}
