//! Chunks: one `moof` and one `mdat` of one track.

use bytes::Bytes;
use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};

use super::sample::Sample;
use crate::MediaError;

/// Length and type in front of the samples' bytes.
const MDAT_HEADER_LEN: usize = 8;
/// A `moof` with one sample takes about 108 bytes, each further one 4 to 16.
const MOOF_LEN_HINT: usize = 128;

/// Writes one chunk whose first sample decodes at `tfdt`.
///
/// # Errors
/// [`MediaError::Write`] when a length does not fit its box.
pub fn write_chunk(track_id: u32, sequence: u32, tfdt: u64, samples: &[Sample]) -> Result<Bytes, MediaError> {
    let data_len = samples.iter().fold(0usize, |len, sample| len.saturating_add(sample.data.len()));
    let mdat_len = u32::try_from(data_len.saturating_add(MDAT_HEADER_LEN))
        .map_err(|_| mp4_atom::Error::TooLarge(b"mdat".into()))?;
    let entry = |sample: &Sample| TrunEntry {
        duration: Some(sample.duration),
        size: u32::try_from(sample.data.len()).ok(),
        flags: Some(sample.flags.0),
        cts: (sample.composition != 0).then_some(i64::from(sample.composition)),
    };
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: tfdt }),
            trun: vec![Trun {
                data_offset: Some(0),
                samples: TrunSamples::Explicit(samples.iter().map(entry).collect()),
            }],
            ..Traf::default()
        }],
    };
    let mut chunk = Vec::with_capacity(data_len.saturating_add(MOOF_LEN_HINT.saturating_mul(samples.len().max(1))));
    moof.encode(&mut chunk)?;
    // The offset's value does not change the box's length, so that a second writing has the same shape.
    let data_offset = i32::try_from(chunk.len().saturating_add(MDAT_HEADER_LEN)).ok();
    if let Some(trun) = moof.traf.first_mut().and_then(|traf| traf.trun.first_mut()) {
        trun.data_offset = data_offset;
    }
    chunk.clear();
    moof.encode(&mut chunk)?;
    chunk.extend_from_slice(&mdat_len.to_be_bytes());
    chunk.extend_from_slice(b"mdat");
    for sample in samples {
        chunk.extend_from_slice(&sample.data);
    }
    Ok(Bytes::from(chunk))
}
