//! AV1: the configuration record, the sequence header in it, and what a temporal unit holds.

use bytes::{Buf, Bytes};
use mp4_atom::{Atom as _, Av1c};
use scuffle_av1::seq::SequenceHeaderObu;
use scuffle_av1::{ObuHeader, ObuType};

use super::Picture;
use super::nal::{self, FRAMERATE_RANGE, RECORD_LEN_MAX};
use crate::{MediaError, RandomAccess};

const WHAT: &str = "AV1 sequence header";
/// OBUs of one temporal unit: more tile groups than any level allows.
const OBUS_MAX: usize = 1024;
/// `frame_type` in a frame header (§6.8.2).
const KEY_FRAME: u8 = 0;
/// A frame header that shows a frame that was decoded earlier.
const SHOW_EXISTING: u8 = 0x80;
const SHOW_FRAME: u8 = 0x10;

/// An `AV1CodecConfigurationRecord` (AV1 in ISO BMFF §2.3.3), kept byte for byte, with what was read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Av1Config {
    record: Bytes,
    av1c: Av1c,
    codec: String,
    picture: Picture,
}

impl Av1Config {
    /// Reads a configuration record.
    ///
    /// # Errors
    /// [`MediaError::Config`] when it is cut short, or has no sequence header that can be read.
    pub fn parse(record: Bytes) -> Result<Self, MediaError> {
        let bad = |reason| MediaError::Config { what: WHAT, reason };
        if record.len() > RECORD_LEN_MAX {
            return Err(bad("it is longer than 16 KiB"));
        }
        let av1c = Av1c::decode_body(&mut record.as_ref()).map_err(|_| bad("it is cut short"))?;
        let sequence = sequence_header(&av1c.config_obus).ok_or(bad("it has no sequence header that can be read"))?;
        let picture = picture(&sequence).ok_or(bad("its picture size is out of range"))?;
        Ok(Self { codec: codec_string(&av1c), av1c, picture, record })
    }

    /// The record, byte for byte as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The record as a box.
    pub(crate) fn av1c(&self) -> &Av1c {
        &self.av1c
    }

    /// `av01.P.LLT.DD` (AV1 in ISO BMFF §5).
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// What is shown.
    pub fn picture(&self) -> Picture {
        self.picture
    }

    /// Whether decoding can start at a temporal unit; `None` when a length does not fit or it holds no frame.
    pub fn access(&self, temporal_unit: &[u8]) -> Option<RandomAccess> {
        let mut rest = temporal_unit;
        for _ in 0..OBUS_MAX {
            if rest.is_empty() {
                return None;
            }
            let (kind, payload, after) = obu(rest)?;
            rest = after;
            if !matches!(kind, ObuType::Frame | ObuType::FrameHeader) {
                continue;
            }
            let header = *payload.first()?;
            let key = header & SHOW_EXISTING == 0 && (header >> 5) & 0b11 == KEY_FRAME;
            // A key frame that is not shown yet lets decoding start; frames shown before it may need what came before.
            return Some(match (key, header & SHOW_FRAME != 0) {
                (true, true) => RandomAccess::Closed,
                (true, false) => RandomAccess::Open,
                (false, _) => RandomAccess::None,
            });
        }
        None
    }

    /// The temporal unit without the delimiter in front, which has no place in a file (§2.4).
    pub fn without_delimiter(mut temporal_unit: Bytes) -> Bytes {
        if let Some((ObuType::TemporalDelimiter, _, rest)) = obu(&temporal_unit) {
            let len = temporal_unit.len().saturating_sub(rest.len());
            temporal_unit.advance(len);
        }
        temporal_unit
    }
}

/// The first OBU: its type, its payload and what follows. One without a length reaches to the end.
fn obu(bytes: &[u8]) -> Option<(ObuType, &[u8], &[u8])> {
    let mut rest = bytes;
    let header = ObuHeader::parse(&mut rest).ok()?;
    let len = match header.size {
        Some(len) => usize::try_from(len).ok()?,
        None => rest.len(),
    };
    let (payload, rest) = rest.split_at_checked(len)?;
    Some((header.obu_type, payload, rest))
}

fn sequence_header(obus: &[u8]) -> Option<SequenceHeaderObu> {
    let mut rest = obus;
    for _ in 0..OBUS_MAX {
        let (kind, payload, after) = obu(rest)?;
        if kind == ObuType::SequenceHeader {
            let header = ObuHeader::parse(&mut rest).ok()?;
            return SequenceHeaderObu::parse(header, &mut &*payload).ok();
        }
        rest = after;
    }
    None
}

fn picture(sequence: &SequenceHeaderObu) -> Option<Picture> {
    let timing = sequence.timing_info.as_ref().filter(|timing| timing.num_units_in_display_tick > 0);
    let framerate = timing.map(|timing| {
        let ticks = timing.num_ticks_per_picture.unwrap_or(1).max(1) as f64;
        f64::from(timing.time_scale) / f64::from(timing.num_units_in_display_tick) / ticks
    });
    Some(Picture {
        width: nal::side(sequence.max_frame_width)?,
        height: nal::side(sequence.max_frame_height)?,
        framerate: framerate.filter(|rate| FRAMERATE_RANGE.contains(rate)),
    })
}

fn codec_string(av1c: &Av1c) -> String {
    let tier = if av1c.seq_tier_0 { 'H' } else { 'M' };
    let depth = match (av1c.high_bitdepth, av1c.twelve_bit) {
        (true, true) => 12,
        (true, false) => 10,
        (false, _) => 8,
    };
    format!("av01.{}.{:02}{tier}.{depth:02}", av1c.seq_profile, av1c.seq_level_idx_0)
}
