//! Samples of a file that is not fragmented, by the tables of its `moov` (ISO/IEC 14496-12 §8.6 and §8.7).

use mp4_atom::{Stbl, StscEntry, StszSamples};

use super::MovieSample;
use super::track::MovieTrack;
use crate::MediaError;

/// A day of pictures and sound at a hundred a second: more is no film.
const SAMPLES_MAX: usize = 2 * 100 * 24 * 3_600;
const CONTRADICT: MediaError = MediaError::Malformed("its sample tables contradict each other");

/// Appends the samples of a track.
///
/// # Errors
/// [`MediaError::Malformed`].
pub(super) fn samples(index: usize, track: &MovieTrack, all: &mut Vec<MovieSample>) -> Result<(), MediaError> {
    let tables = &track.tables;
    let count = match &tables.stsz.samples {
        StszSamples::Identical { count, .. } => *count as usize,
        StszSamples::Different { sizes } => sizes.len(),
    };
    if count > SAMPLES_MAX {
        return Err(MediaError::Malformed("it has more samples than a day of film"));
    }
    let mut places = Places::new(tables);
    let mut durations = runs(tables.stts.entries.iter().map(|run| (run.sample_count, i64::from(run.sample_delta))));
    let offsets = tables.ctts.iter().flat_map(|ctts| &ctts.entries);
    let mut compositions = runs(offsets.map(|run| (run.sample_count, run.sample_offset)));
    let mut keys = tables.stss.as_ref().map(|stss| stss.entries.iter().copied().peekable());
    let mut dts = 0i64;
    for (number, at) in (1u32..).zip(0..count) {
        let len = match &tables.stsz.samples {
            StszSamples::Identical { size, .. } => *size,
            StszSamples::Different { sizes } => sizes.get(at).copied().ok_or(CONTRADICT)?,
        };
        let offset = places.next(len).ok_or(CONTRADICT)?;
        let duration = durations.next().ok_or(CONTRADICT)?;
        let composition = if tables.ctts.is_some() { compositions.next().ok_or(CONTRADICT)? } else { 0 };
        let key = keys.as_mut().is_none_or(|keys| keys.next_if_eq(&number).is_some());
        all.push(MovieSample {
            track: index,
            dts_us: track.shown_us(dts),
            pts_us: track.shown_us(dts.saturating_add(composition)),
            duration_us: track.us(duration),
            key,
            offset,
            len: len as usize,
        });
        dts = dts.saturating_add(duration);
    }
    Ok(())
}

/// Each value as often as its run says.
fn runs(entries: impl Iterator<Item = (u32, i64)>) -> impl Iterator<Item = i64> {
    entries.flat_map(|(count, value)| std::iter::repeat_n(value, count as usize))
}

/// Where one sample after the other lies.
struct Places<'a> {
    tables: &'a Stbl,
    /// Runs of chunks with equally many samples that lie ahead.
    runs: &'a [StscEntry],
    /// The chunk, from 0.
    chunk: usize,
    samples_per_chunk: u32,
    left_in_chunk: u32,
    offset: u64,
}

impl<'a> Places<'a> {
    fn new(tables: &'a Stbl) -> Self {
        Self { tables, runs: &tables.stsc.entries, chunk: 0, samples_per_chunk: 0, left_in_chunk: 0, offset: 0 }
    }

    fn next(&mut self, len: u32) -> Option<u64> {
        if self.left_in_chunk == 0 {
            self.next_chunk()?;
        }
        self.left_in_chunk = self.left_in_chunk.checked_sub(1)?;
        let offset = self.offset;
        self.offset = offset.checked_add(u64::from(len))?;
        Some(offset)
    }

    fn next_chunk(&mut self) -> Option<()> {
        if let Some((run, rest)) = self.runs.split_first()
            && usize::try_from(run.first_chunk).ok()? <= self.chunk.saturating_add(1)
        {
            self.samples_per_chunk = run.samples_per_chunk;
            self.runs = rest;
        }
        self.offset = match (&self.tables.stco, &self.tables.co64) {
            (Some(stco), _) => u64::from(*stco.entries.get(self.chunk)?),
            (None, Some(co64)) => *co64.entries.get(self.chunk)?,
            (None, None) => return None,
        };
        self.chunk = self.chunk.saturating_add(1);
        self.left_in_chunk = self.samples_per_chunk;
        Some(())
    }
}
