//! Samples of one fragment (ISO/IEC 14496-12 §8.8).

use mp4_atom::{Traf, TrunEntry};

use super::MovieSample;
use super::track::{FragmentDefaults, MovieTrack};
use crate::MediaError;
use crate::fmp4::SampleFlags;

/// Samples of one track in one fragment: an hour of pictures.
const SAMPLES_MAX: usize = 256 * 1_024;

/// Appends the samples of one track's part of a fragment. Their offsets count from the start of its `moof`.
///
/// # Errors
/// [`MediaError::Malformed`].
pub(super) fn samples(
    index: usize,
    track: &mut MovieTrack,
    traf: &Traf,
    all: &mut Vec<MovieSample>,
) -> Result<(), MediaError> {
    if traf.tfhd.base_data_offset.is_some() {
        return Err(MediaError::Malformed("a fragment with absolute offsets; write it with default-base-is-moof"));
    }
    let defaults = FragmentDefaults {
        duration: traf.tfhd.default_sample_duration.unwrap_or(track.fragments.duration),
        size: traf.tfhd.default_sample_size.unwrap_or(track.fragments.size),
        flags: traf.tfhd.default_sample_flags.unwrap_or(track.fragments.flags),
        next_dts: traf.tfdt.as_ref().map_or(track.fragments.next_dts, |tfdt| tfdt.base_media_decode_time),
    };
    let (mut dts, mut offset, mut count) = (defaults.next_dts, 0u64, 0usize);
    for trun in &traf.trun {
        if let Some(data_offset) = trun.data_offset {
            offset = u64::try_from(data_offset).map_err(|_| MediaError::Malformed("a sample in front of its moof"))?;
        }
        for entry in trun.samples.iter() {
            count = count.saturating_add(1);
            if count > SAMPLES_MAX {
                return Err(MediaError::Malformed("a fragment has more samples than an hour of film"));
            }
            let sample = sample(index, track, &defaults, &entry, dts, offset);
            dts = dts.saturating_add(u64::from(entry.duration.unwrap_or(defaults.duration)));
            offset = offset.saturating_add(sample.len as u64);
            all.push(sample);
        }
    }
    track.fragments.next_dts = dts;
    Ok(())
}

fn sample(
    index: usize,
    track: &MovieTrack,
    defaults: &FragmentDefaults,
    entry: &TrunEntry,
    dts: u64,
    offset: u64,
) -> MovieSample {
    let dts = i64::try_from(dts).unwrap_or(i64::MAX);
    MovieSample {
        track: index,
        dts_us: track.shown_us(dts),
        pts_us: track.shown_us(dts.saturating_add(entry.cts.unwrap_or(0))),
        duration_us: track.us(entry.duration.unwrap_or(defaults.duration).into()),
        key: SampleFlags(entry.flags.unwrap_or(defaults.flags)).is_sync(),
        offset,
        len: entry.size.unwrap_or(defaults.size) as usize,
    }
}
