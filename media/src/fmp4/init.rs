//! Init segments: what one track brings, and one `ftyp` + `moov` for all of them.

use std::time::Duration;

use bytes::Bytes;

use super::boxes::{BoxAt, HEADER_LEN, boxes, descend, first, only};
use super::sample::{SampleDefaults, SampleFlags};
use crate::MediaError;

/// The parts of a single track's init segment that a merged file and a reader of its chunks need.
#[derive(Debug, Clone)]
pub struct InitSegment {
    /// `trak`, whole.
    trak: Bytes,
    /// `trex`, whole.
    trex: Bytes,
    /// `mvhd`, whole.
    mvhd: Bytes,
    /// Sample descriptions: what a decoder is set up with.
    stsd: Bytes,
    /// Ticks a second of the track's media time; at least 1.
    pub timescale: u32,
    /// What a sample has that its fragment does not describe.
    pub defaults: SampleDefaults,
}

impl InitSegment {
    /// Reads an init segment that holds exactly one track.
    ///
    /// # Errors
    /// [`MediaError::MissingBox`] or [`MediaError::Malformed`], with what is wrong.
    pub fn parse(segment: &Bytes) -> Result<Self, MediaError> {
        let moov = first(boxes(segment), b"moov")?.ok_or(MediaError::MissingBox("moov"))?;
        let trak = only(moov.children(segment), b"trak")?;
        let trak = trak.ok_or(MediaError::Malformed("an init segment needs exactly one track"))?;
        let below = |parent: BoxAt, path: &[&[u8; 4]], name| {
            descend(segment, parent.children(segment), path)?.ok_or(MediaError::MissingBox(name))
        };
        let mvhd = below(moov, &[b"mvhd"], "mvhd")?;
        let trex = below(moov, &[b"mvex", b"trex"], "trex")?;
        let mdhd = below(trak, &[b"mdia", b"mdhd"], "mdhd")?;
        let stsd = below(trak, &[b"mdia", b"minf", b"stbl", b"stsd"], "stsd")?;
        let timescale = mdhd.u32(segment, behind_times(segment, mdhd)).filter(|&timescale| timescale > 0);
        // trex: version and flags, track, description index, then the default duration, size and flags.
        let default = |offset: usize| trex.u32(segment, offset).unwrap_or(0);
        let defaults = SampleDefaults { duration: default(12), size: default(16), flags: SampleFlags(default(20)) };
        let whole = |found: BoxAt| segment.slice(found.start..found.end);
        Ok(Self {
            trak: whole(trak),
            trex: whole(trex),
            mvhd: whole(mvhd),
            stsd: whole(stsd),
            timescale: timescale.ok_or(MediaError::Malformed("a track without a timescale"))?,
            defaults,
        })
    }

    /// `ticks` of the track as a time, rounded down to microseconds.
    pub fn time(&self, ticks: u64) -> Duration {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.timescale.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// Whether media of both init segments plays with one decoder set-up, which is all that a track of one file can have.
///
/// # Errors
/// As [`InitSegment::parse`], for either.
pub fn same_decoder(one: &Bytes, other: &Bytes) -> Result<bool, MediaError> {
    let (one, other) = (InitSegment::parse(one)?, InitSegment::parse(other)?);
    Ok(one.stsd == other.stsd && one.timescale == other.timescale)
}

/// One `ftyp` + `moov` for these tracks, which become 1, 2, …
///
/// # Errors
/// [`MediaError::MissingBox`] without a track, [`MediaError::Malformed`] when a field that has to change is cut off.
pub fn merge(tracks: &[&InitSegment]) -> Result<Bytes, MediaError> {
    let mvhd = tracks.first().ok_or(MediaError::MissingBox("trak"))?.mvhd.to_vec();
    let mut moov = with_next_track_id(mvhd, tracks.len())?;
    let mut mvex = Vec::new();
    for (track_id, track) in (1u32..).zip(tracks) {
        moov.extend(with_track_id(&track.trak, track_id)?);
        let mut trex = track.trex.to_vec();
        // trex: version and flags, then the track.
        whole(&trex)?.put_u32(&mut trex, 4, track_id).ok_or(MediaError::Malformed("a trex is cut off"))?;
        mvex.extend(trex);
    }
    moov.extend(boxed(b"mvex", &mvex)?);
    let mut segment = boxed(b"ftyp", b"iso6\0\0\0\0iso6cmfcmp41")?;
    segment.extend(boxed(b"moov", &moov)?);
    Ok(segment.into())
}

/// The box that `bytes` are.
fn whole(bytes: &[u8]) -> Result<BoxAt, MediaError> {
    boxes(bytes).next().unwrap_or(Err(MediaError::Malformed("a box is cut off")))
}

/// `next_track_ID` is the last field of every version of `mvhd`.
fn with_next_track_id(mut mvhd: Vec<u8>, tracks: usize) -> Result<Vec<u8>, MediaError> {
    const CUT: MediaError = MediaError::Malformed("an mvhd is cut off");
    let next = u32::try_from(tracks.saturating_add(1)).map_err(|_| MediaError::Malformed("too many tracks"))?;
    let found = whole(&mvhd)?;
    let at = found.end.saturating_sub(found.body).checked_sub(4).ok_or(CUT)?;
    found.put_u32(&mut mvhd, at, next).ok_or(CUT)?;
    Ok(mvhd)
}

fn with_track_id(trak: &Bytes, track_id: u32) -> Result<Vec<u8>, MediaError> {
    let tkhd = first(whole(trak)?.children(trak), b"tkhd")?.ok_or(MediaError::MissingBox("tkhd"))?;
    let mut out = trak.to_vec();
    tkhd.put_u32(&mut out, behind_times(trak, tkhd), track_id).ok_or(MediaError::Malformed("a tkhd is cut off"))?;
    Ok(out)
}

/// Where the field behind version and flags and the two times of 4 or 8 bytes lies, in `mdhd` and `tkhd`.
fn behind_times(data: &[u8], found: BoxAt) -> usize {
    if found.u8(data, 0) == Some(0) { 12 } else { 20 }
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Result<Vec<u8>, MediaError> {
    let len = u32::try_from(body.len().saturating_add(HEADER_LEN));
    let len = len.map_err(|_| MediaError::Malformed("a box above 4 GiB"))?;
    let mut out = Vec::with_capacity(body.len().saturating_add(HEADER_LEN));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    Ok(out)
}
