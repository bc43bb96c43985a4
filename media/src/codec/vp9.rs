//! VP9: the configuration record, and the frame header that alone says how large the picture is.

use bytes::Bytes;
use mp4_atom::VpcC;

use super::Picture;
use super::bits::BitReader;
use super::nal;
use crate::{MediaError, RandomAccess};

const WHAT: &str = "VP9 sequence header";
/// Version 1 and no flags: what stands in front of the record where it is a whole box body.
const FULL_BOX: [u8; 4] = [1, 0, 0, 0];
/// Profile to the length of codec initialization data, of which VP9 has none.
const RECORD_LEN: usize = 8;
const FRAME_MARKER: u32 = 2;
const SYNC_CODE: u32 = 0x49_83_42;
/// `color_space` of RGB, which has no further fields below profile 1.
const COLOR_RGB: u32 = 7;

/// A `VPCodecConfigurationRecord` (VP codecs in ISO BMFF §2.2), kept as it came, with the size that a key frame gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Vp9Config {
    record: Bytes,
    vpcc: VpcC,
    codec: String,
    picture: Picture,
}

impl Vp9Config {
    /// Reads a configuration record; the picture's size comes from a key frame.
    ///
    /// # Errors
    /// [`MediaError::Config`] when the record is cut short, or `key_frame` is none.
    pub fn parse(record: Bytes, key_frame: &[u8]) -> Result<Self, MediaError> {
        let bad = |reason| MediaError::Config { what: WHAT, reason };
        let body = record.strip_prefix(&FULL_BOX).unwrap_or(&record);
        let Some([profile, level, depth, primaries, transfer, matrix, ..]) = body.first_chunk::<RECORD_LEN>() else {
            return Err(bad("it is cut short"));
        };
        let picture = key_frame_picture(key_frame).ok_or(bad("its first frame is no key frame"))?;
        let vpcc = VpcC {
            profile: *profile,
            level: *level,
            bit_depth: depth >> 4,
            chroma_subsampling: (depth >> 1) & 0b111,
            video_full_range_flag: depth & 1 == 1,
            color_primaries: *primaries,
            transfer_characteristics: *transfer,
            matrix_coefficients: *matrix,
            codec_initialization_data: Vec::new(),
        };
        let codec = format!("vp09.{:02}.{:02}.{:02}", vpcc.profile, vpcc.level, vpcc.bit_depth);
        Ok(Self { codec, vpcc, picture, record })
    }

    /// The record, byte for byte as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The record as a box.
    pub(crate) fn vpcc(&self) -> &VpcC {
        &self.vpcc
    }

    /// `vp09.PP.LL.DD` (VP codecs in ISO BMFF §3).
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// What is shown.
    pub fn picture(&self) -> Picture {
        self.picture
    }

    /// True unless `frame` is a key frame of another size.
    pub fn describes(&self, frame: &[u8]) -> bool {
        key_frame_picture(frame).is_none_or(|picture| picture == self.picture)
    }

    /// Whether decoding can start at a frame; `None` when it is none.
    pub fn access(frame: &[u8]) -> Option<RandomAccess> {
        let mut bits = BitReader::new(frame);
        profile(&mut bits)?;
        let shows_existing = bits.read(1)? == 1;
        let key = !shows_existing && bits.read(1)? == 0;
        Some(if key { RandomAccess::Closed } else { RandomAccess::None })
    }
}

/// Frame marker and profile of an uncompressed header (VP9 bitstream §6.2).
fn profile(bits: &mut BitReader<'_>) -> Option<u32> {
    if bits.read(2)? != FRAME_MARKER {
        return None;
    }
    let (low, high) = (bits.read(1)?, bits.read(1)?);
    let profile = (high << 1) | low;
    if profile == 3 {
        bits.read(1)?;
    }
    Some(profile)
}

/// The size in a key frame's uncompressed header; `None` when it is none.
fn key_frame_picture(frame: &[u8]) -> Option<Picture> {
    let mut bits = BitReader::new(frame);
    let profile = profile(&mut bits)?;
    let (shows_existing, inter) = (bits.read(1)?, bits.read(1)?);
    let _show_frame_and_error_resilient = bits.read(2)?;
    if shows_existing == 1 || inter == 1 || bits.read(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.read(1)?;
    }
    let subsampled = profile == 1 || profile == 3;
    match (bits.read(3)?, subsampled) {
        (COLOR_RGB, true) => bits.read(1)?,
        (COLOR_RGB, false) => return None,
        // Range, then both subsamplings and a reserved bit where they are free.
        (_, true) => bits.read(4)?,
        (_, false) => bits.read(1)?,
    };
    let (width, height) = (bits.read(16)?.saturating_add(1), bits.read(16)?.saturating_add(1));
    Some(Picture { width: nal::side(width.into())?, height: nal::side(height.into())?, framerate: None })
}
