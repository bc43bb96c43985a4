//! H.264 by start codes (Annex B) to length prefixes, with the parameter sets taken out.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use streams_media::{AvcConfig, CodecConfig, MediaError};

/// Parameter sets that are kept at once; encoders use one of each.
const SPS_MAX: usize = 4;
const PPS_MAX: usize = 16;
/// Bytes of one parameter set; real ones have less than 100.
const SET_LEN_MAX: usize = 1024;
/// Access units of one PES packet; nearly all have one.
const UNITS_MAX: usize = 32;

const NAL_KIND: u8 = 0x1f;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
/// End of sequence, end of stream, filler: nothing that a decoder needs.
const NOTHING: [u8; 3] = [10, 11, 12];

/// One access unit with length prefixes of four bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub(crate) data: Bytes,
    /// The configuration in force; `None` before the first parameter sets.
    pub(crate) config: Option<Arc<CodecConfig>>,
}

/// Follows one stream's parameter sets.
#[derive(Debug, Default)]
pub(crate) struct AnnexB {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    changed: bool,
    config: Option<Arc<CodecConfig>>,
}

impl AnnexB {
    /// The access units in a PES packet's payload.
    ///
    /// # Errors
    /// [`MediaError`] when parameter sets make no configuration.
    pub(crate) fn split(&mut self, payload: &[u8]) -> Result<Vec<Picture>, MediaError> {
        let mut pictures = Vec::new();
        let mut data = BytesMut::with_capacity(payload.len().saturating_add(16));
        for unit in NalUnits::new(payload) {
            let Some(kind) = unit.first().map(|header| header & NAL_KIND) else { continue };
            match kind {
                SPS => self.sps(unit),
                PPS => self.pps(unit),
                DELIMITER if !data.is_empty() && pictures.len() < UNITS_MAX => {
                    pictures.push(self.picture(data.split().freeze())?);
                }
                DELIMITER => {}
                kind if NOTHING.contains(&kind) => {}
                _ => {
                    data.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
                    data.put_slice(unit);
                }
            }
        }
        if !data.is_empty() {
            pictures.push(self.picture(data.freeze())?);
        }
        Ok(pictures)
    }

    fn picture(&mut self, data: Bytes) -> Result<Picture, MediaError> {
        if self.changed && !self.sps.is_empty() && !self.pps.is_empty() {
            self.changed = false;
            let config = CodecConfig::Avc(AvcConfig::from_parameter_sets(&self.sps, &self.pps)?);
            if self.config.as_deref() != Some(&config) {
                self.config = Some(Arc::new(config));
            }
        }
        Ok(Picture { data, config: self.config.clone() })
    }

    /// Another sequence begins with its own picture parameter sets.
    fn sps(&mut self, unit: &[u8]) {
        if unit.len() > SET_LEN_MAX || self.sps.iter().any(|known| known == unit) {
            return;
        }
        let same_id = |known: &Bytes| sps_id(known) == sps_id(unit);
        if self.sps.iter().any(same_id) {
            self.sps.retain(|known| !same_id(known));
            self.pps.clear();
        }
        if self.sps.len() >= SPS_MAX {
            self.sps.remove(0);
        }
        self.sps.push(Bytes::copy_from_slice(unit));
        self.changed = true;
    }

    fn pps(&mut self, unit: &[u8]) {
        if unit.len() > SET_LEN_MAX || self.pps.iter().any(|known| known == unit) {
            return;
        }
        self.pps.retain(|known| exp_golomb(known, 1) != exp_golomb(unit, 1));
        if self.pps.len() >= PPS_MAX {
            self.pps.remove(0);
        }
        self.pps.push(Bytes::copy_from_slice(unit));
        self.changed = true;
    }
}

/// `seq_parameter_set_id` (§7.3.2.1.1) stands behind profile, constraints and level.
fn sps_id(unit: &[u8]) -> Option<u32> {
    exp_golomb(unit, 4)
}

/// The Exp-Golomb number at a byte (§9.1); identifiers fit four bytes.
fn exp_golomb(unit: &[u8], at: usize) -> Option<u32> {
    let word = (0..4usize)
        .fold(0u32, |word, step| (word << 8) | u32::from(unit.get(at.saturating_add(step)).copied().unwrap_or(0)));
    let zeros = word.leading_zeros();
    (zeros < 16).then(|| (word << zeros >> (31 - zeros)).saturating_sub(1))
}

/// The NAL units between start codes.
struct NalUnits<'a> {
    rest: &'a [u8],
}

impl<'a> NalUnits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let rest = match start_code(bytes) {
            Some(at) => bytes.get(at.saturating_add(3)..).unwrap_or_default(),
            None => &[],
        };
        Self { rest }
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (unit, rest) = match start_code(self.rest) {
            Some(at) => (self.rest.get(..at), self.rest.get(at.saturating_add(3)..)),
            None => (Some(self.rest), None),
        };
        self.rest = rest.unwrap_or_default();
        // A unit ends with a stop bit, so zeros behind it are no part of it (§B.1.1).
        let unit = unit.unwrap_or_default();
        let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        unit.get(..len)
    }
}

/// Where the next three bytes 0, 0, 1 are.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2usize;
    loop {
        // Two of three bytes need no look: a one at the end, or a byte that is neither, rules their starts out.
        match bytes.get(at)? {
            0 => at = at.saturating_add(1),
            1 => {
                let from = at.saturating_sub(2);
                if bytes.get(from..at) == Some(&[0, 0]) {
                    return Some(from);
                }
                at = at.saturating_add(3);
            }
            _ => at = at.saturating_add(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of x264: high profile, 854x480.
    const SPS_BYTES: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xd8, 0x3d, 0xe6, 0xf0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
        0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const PPS_BYTES: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn start_codes_of_both_lengths_and_zeros_behind_units_are_taken_out() {
        let bytes = [0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 5, 6, 0, 7, 0, 0, 0, 0, 1, 1, 2];
        let units: Vec<&[u8]> = NalUnits::new(&bytes).collect();
        assert_eq!(units, [&[9, 0xf0][..], &[5, 6, 0, 7], &[1, 2]]);
        for at in 0..40usize {
            let mut bytes = vec![7; at];
            bytes.extend([0, 0, 1]);
            assert_eq!(start_code(&bytes), Some(at), "{at} bytes in front");
        }
    }

    #[test]
    fn parameter_sets_become_the_configuration_and_stay_out_of_the_picture() {
        let mut annex_b = AnnexB::default();
        let pictures = annex_b.split(&stream(&[&[9, 0xf0], &[0x65, 1, 2]])).unwrap();
        assert_eq!(pictures[0].config, None, "no parameter sets so far");
        let with_sets = stream(&[&[9, 0xf0], SPS_BYTES, PPS_BYTES, &[0x65, 1, 2]]);
        let pictures = annex_b.split(&with_sets).unwrap();
        assert_eq!(pictures[0].data, [0, 0, 0, 3, 0x65, 1, 2][..]);
        let first = pictures[0].config.clone().unwrap();
        assert_eq!(first.codec(), "avc1.64001E");
        let again = annex_b.split(&with_sets).unwrap();
        assert!(again[0].config.as_ref().is_some_and(|config| Arc::ptr_eq(config, &first)), "nothing changed");
        let mut other = SPS_BYTES.to_vec();
        other[3] = 0x28;
        let pictures = annex_b.split(&stream(&[&other, PPS_BYTES, &[0x65, 1]])).unwrap();
        assert_eq!(pictures[0].config.as_ref().unwrap().codec(), "avc1.640028");
    }

    #[test]
    fn a_delimiter_begins_another_access_unit() {
        let mut annex_b = AnnexB::default();
        let bytes = stream(&[&[9, 0xf0], &[0x65, 1], &[0x65, 2], &[9, 0xf0], &[0x41, 3]]);
        let pictures = annex_b.split(&bytes).unwrap();
        let lens: Vec<usize> = pictures.iter().map(|picture| picture.data.len()).collect();
        assert_eq!(lens, [12, 6]);
    }

    #[test]
    fn parameter_sets_without_end_are_kept_within_bounds() {
        let mut annex_b = AnnexB::default();
        for id in 0..200u8 {
            // Identifiers of seven bits behind as many zeros.
            let unit = [0x68, 1, id | 1, 0x80, id];
            annex_b.pps(&unit);
            annex_b.sps(&[0x67, 66, 0, id, 1, id | 1, id]);
        }
        assert!(annex_b.pps.len() <= PPS_MAX && annex_b.sps.len() <= SPS_MAX);
    }
}
