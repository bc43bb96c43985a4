//! AAC in LATM by LOAS (ISO/IEC 14496-3 §1.7): one program, one layer, which is what broadcasts use.

use bytes::Bytes;

use super::adts::{AacFrame, Read};
use super::bits::Bits;

/// Sync word and length of an AudioSyncStream.
const HEADER_LEN: usize = 3;
/// Object types with SBR and PS, whose configuration names the core's type behind.
const WITH_EXTENSION: [u32; 2] = [5, 29];
/// AAC Main, LC, SSR and LTP.
const CORE: std::ops::RangeInclusive<u32> = 1..=4;
/// A sampling frequency that is written out.
const RATE_WRITTEN: u32 = 15;

/// The configuration in force, which frames repeat by a flag.
#[derive(Debug, Default)]
pub(super) struct Latm {
    asc: Option<Vec<u8>>,
}

impl Latm {
    /// Reads the frame at the begin of `bytes`.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Read {
        let Some([sync, sync_and_len, len]) = bytes.first_chunk::<HEADER_LEN>().copied() else { return Read::Part };
        if sync != 0x56 || sync_and_len & 0xe0 != 0xe0 {
            return Read::Skip(next_sync(bytes));
        }
        let len = usize::from(sync_and_len & 0x1f) << 8 | usize::from(len);
        let end = len.saturating_add(HEADER_LEN);
        let Some(element) = bytes.get(HEADER_LEN..end) else { return Read::Part };
        match self.element(element) {
            Some(frame) => Read::Frame(frame, end),
            None => Read::Skip(end),
        }
    }

    /// `AudioMuxElement(1)`; `None` for what is cut short, not understood, or waits for its configuration.
    fn element(&mut self, element: &[u8]) -> Option<AacFrame> {
        let mut bits = Bits::new(element);
        if !bits.flag()? {
            self.asc = None;
            self.configure(&mut bits)?;
        }
        let asc = self.asc.clone()?;
        let mut len = 0usize;
        loop {
            let step = bits.read(8)?;
            len = len.saturating_add(usize::try_from(step).ok()?);
            if step != 255 {
                break;
            }
        }
        let data = bits.take(len.checked_mul(8)?).filter(|data| !data.is_empty())?;
        Some(AacFrame { asc, data: Bytes::from(data) })
    }

    /// `StreamMuxConfig()` (table 1.42).
    fn configure(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let version = bits.read(1)?;
        if version == 1 {
            let _version_a = bits.read(1).filter(|bit| *bit == 0)?;
            let _tara_buffer_fullness = latm_value(bits)?;
        }
        let _same_framing = bits.flag()?;
        let subframes = bits.read(6)?;
        let (programs, layers) = (bits.read(4)?, bits.read(3)?);
        if (subframes, programs, layers) != (0, 0, 0) {
            return None;
        }
        let asc = if version == 0 {
            let len = config_len(bits.clone())?;
            bits.take(len)?
        } else {
            let len = usize::try_from(latm_value(bits)?).ok()?;
            bits.take(len)?
        };
        // Frames of variable length; the others are for codecs that are no AAC.
        let _variable = bits.read(3).filter(|kind| *kind == 0)?;
        let _buffer_fullness = bits.read(8)?;
        if bits.flag()? {
            // How much of it there is does not matter: it stands behind the frame.
            if version == 1 {
                latm_value(bits).map(drop)?
            } else {
                skip_other_len(bits)?
            };
        }
        if bits.flag()? {
            let _crc = bits.read(8)?;
        }
        self.asc = Some(asc);
        Some(())
    }
}

/// `LatmGetValue()`: up to four bytes, their number first.
fn latm_value(bits: &mut Bits<'_>) -> Option<u32> {
    let bytes = bits.read(2)?;
    (0..=bytes).try_fold(0u32, |value, _| Some((value << 8) | bits.read(8)?))
}

/// `otherDataLenBits` of version 0: bytes as long as a flag says so.
fn skip_other_len(bits: &mut Bits<'_>) -> Option<()> {
    while bits.flag()? {
        bits.read(8)?;
    }
    bits.read(8).map(drop)
}

/// How many bits an AudioSpecificConfig takes that nobody gave a length: nothing may stand behind its core.
fn config_len(mut bits: Bits<'_>) -> Option<usize> {
    let from = bits.position();
    let mut object_type = bits.read(5)?;
    rate(&mut bits)?;
    let channels = bits.read(4)?;
    if WITH_EXTENSION.contains(&object_type) {
        rate(&mut bits)?;
        object_type = bits.read(5)?;
    }
    // Channels in a program configuration would have to be walked through; broadcasts name them.
    if !CORE.contains(&object_type) || channels == 0 {
        return None;
    }
    let _short_frames = bits.flag()?;
    if bits.flag()? {
        bits.read(14)?;
    }
    let _extension = bits.flag()?;
    bits.position().checked_sub(from)
}

fn rate(bits: &mut Bits<'_>) -> Option<()> {
    if bits.read(4)? == RATE_WRITTEN {
        bits.read(24)?;
    }
    Some(())
}

fn next_sync(bytes: &[u8]) -> usize {
    let behind = bytes.get(1..).unwrap_or_default();
    behind.iter().position(|byte| *byte == 0x56).map_or(bytes.len(), |at| at.saturating_add(1))
}
