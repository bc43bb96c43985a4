//! Init segments: what one track brings, and one `ftyp` + `moov` for all of them.

use bytes::Bytes;

use super::Mp4Error;
use super::boxes::{children, descend, first, put_u32, u32_at};
use super::chunk::SampleDefaults;

/// The parts of a single track's init segment that the merged file needs.
#[derive(Debug, Clone)]
pub(crate) struct TrackInit {
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

impl TrackInit {
    /// Reads an init segment that holds exactly one track.
    pub fn parse(segment: &Bytes) -> Result<Self, Mp4Error> {
        let moov = first(&children(segment, 0, segment.len())?, b"moov").ok_or(Mp4Error::Missing("moov"))?;
        let in_moov = children(segment, moov.body, moov.end)?;
        let traks: Vec<_> = in_moov.iter().filter(|found| &found.kind == b"trak").collect();
        let [trak] = traks[..] else { return Err(Mp4Error::Malformed("an init segment needs exactly one track")) };
        let mvhd = first(&in_moov, b"mvhd").ok_or(Mp4Error::Missing("mvhd"))?;
        let trex = descend(segment, moov.body, moov.end, &[b"mvex", b"trex"])?.ok_or(Mp4Error::Missing("trex"))?;
        let mdhd = descend(segment, trak.body, trak.end, &[b"mdia", b"mdhd"])?.ok_or(Mp4Error::Missing("mdhd"))?;
        let stsd = descend(segment, trak.body, trak.end, &[b"mdia", b"minf", b"stbl", b"stsd"])?
            .ok_or(Mp4Error::Missing("stsd"))?;
        // mdhd: version and flags, two times of 4 or 8 bytes, then the timescale.
        let version = segment.get(mdhd.body).copied().ok_or(Mp4Error::Missing("mdhd"))?;
        let timescale_at = mdhd.body.saturating_add(if version == 0 { 12 } else { 20 });
        let timescale = u32_at(segment, timescale_at).filter(|&timescale| timescale > 0);
        // trex: version and flags, track, description index, then the default duration, size and flags.
        let default = |at: usize| u32_at(segment, trex.body.saturating_add(at)).unwrap_or(0);
        let defaults = SampleDefaults { duration: default(12), flags: default(20) };
        Ok(Self {
            trak: segment.slice(trak.start..trak.end),
            trex: segment.slice(trex.start..trex.end),
            mvhd: segment.slice(mvhd.start..mvhd.end),
            stsd: segment.slice(stsd.start..stsd.end),
            timescale: timescale.ok_or(Mp4Error::Malformed("a track without a timescale"))?,
            defaults,
        })
    }
}

/// Whether media of both init segments plays with one decoder set-up, which is all that a track of one file can have.
pub(crate) fn same_decoder(one: &Bytes, other: &Bytes) -> Result<bool, Mp4Error> {
    let (one, other) = (TrackInit::parse(one)?, TrackInit::parse(other)?);
    Ok(one.stsd == other.stsd && one.timescale == other.timescale)
}

/// One `ftyp` + `moov` for these tracks, which become 1, 2, …
pub(crate) fn merge(tracks: &[&TrackInit]) -> Result<Bytes, Mp4Error> {
    let mvhd = tracks.first().ok_or(Mp4Error::Missing("track"))?.mvhd.to_vec();
    let mut moov = with_next_track_id(mvhd, tracks.len())?;
    let mut mvex = Vec::new();
    for (track_id, track) in (1u32..).zip(tracks) {
        moov.extend(with_track_id(&track.trak, track_id)?);
        let mut trex = track.trex.to_vec();
        // trex: header, version and flags, then the track.
        put_u32(&mut trex, 12, track_id).ok_or(Mp4Error::Malformed("a trex is cut off"))?;
        mvex.extend(trex);
    }
    moov.extend(boxed(b"mvex", &mvex)?);
    let mut segment = boxed(b"ftyp", b"iso6\0\0\0\0iso6cmfcmp41")?;
    segment.extend(boxed(b"moov", &moov)?);
    Ok(segment.into())
}

/// `next_track_ID` is the last field of every version of `mvhd`.
fn with_next_track_id(mut mvhd: Vec<u8>, tracks: usize) -> Result<Vec<u8>, Mp4Error> {
    let next = u32::try_from(tracks.saturating_add(1)).map_err(|_| Mp4Error::Malformed("too many tracks"))?;
    let at = mvhd.len().checked_sub(4).filter(|&at| at >= 8).ok_or(Mp4Error::Malformed("an mvhd is cut off"))?;
    put_u32(&mut mvhd, at, next).ok_or(Mp4Error::Malformed("an mvhd is cut off"))?;
    Ok(mvhd)
}

fn with_track_id(trak: &Bytes, track_id: u32) -> Result<Vec<u8>, Mp4Error> {
    let tkhd = descend(trak, 8, trak.len(), &[b"tkhd"])?.ok_or(Mp4Error::Missing("tkhd"))?;
    let version = trak.get(tkhd.body).copied().ok_or(Mp4Error::Missing("tkhd"))?;
    // tkhd: version and flags, two times of 4 or 8 bytes, then the track.
    let at = tkhd.body.saturating_add(if version == 0 { 12 } else { 20 });
    let mut trak = trak.to_vec();
    put_u32(&mut trak, at, track_id).ok_or(Mp4Error::Malformed("a tkhd is cut off"))?;
    Ok(trak)
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Result<Vec<u8>, Mp4Error> {
    let len = u32::try_from(body.len().saturating_add(8)).map_err(|_| Mp4Error::Malformed("a box above 4 GiB"))?;
    let mut out = Vec::with_capacity(body.len().saturating_add(8));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    Ok(out)
}
