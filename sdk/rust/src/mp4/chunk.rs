//! Chunks: one or more `moof` + `mdat` of one track, as objects carry them, put into another file.

use bytes::{Bytes, BytesMut};

use super::Mp4Error;
use super::boxes::{BoxAt, children, first, put_u32, put_u64, u32_at, u64_at};

const TFHD_BASE_DATA_OFFSET: u32 = 0x01;
const TFHD_SAMPLE_DESCRIPTION: u32 = 0x02;
const TFHD_DEFAULT_DURATION: u32 = 0x08;
const TFHD_DEFAULT_SIZE: u32 = 0x10;
const TFHD_DEFAULT_FLAGS: u32 = 0x20;
const TRUN_DATA_OFFSET: u32 = 0x001;
const TRUN_FIRST_FLAGS: u32 = 0x004;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_OPTIONAL_FIELDS: [u32; 4] = [TRUN_DURATION, TRUN_SIZE, TRUN_FLAGS, 0x800];

/// What a sample has that its fragment does not describe (`trex`, ISO/IEC 14496-12 §8.8.3).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SampleDefaults {
    /// Duration, ticks.
    pub duration: u32,
    /// See [`SampleFlags`].
    pub flags: u32,
}

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1), as far as they say where a decoder can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleFlags(u32);

impl SampleFlags {
    /// A decoder can start with the sample.
    pub fn sync(self) -> bool {
        self.0 & 0x0001_0000 == 0
    }

    /// The sample is shown before the sync sample that it follows, and needs what was decoded before that one (`is_leading` 1).
    pub fn leading(self) -> bool {
        self.0 >> 26 & 0b11 == 1
    }
}

/// An object's payload and the times in it, in ticks of its track.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    data: Bytes,
    fragments: Vec<Fragment>,
    /// Of the first sample.
    pub flags: SampleFlags,
    /// When the first sample decodes.
    pub decode_time: u64,
    /// When the last sample decodes.
    pub last_decode_time: u64,
    /// When the last sample ends.
    pub end_time: u64,
}

/// The places of one `moof` that a new file changes.
#[derive(Debug, Clone)]
struct Fragment {
    sequence_at: usize,
    track_id_at: usize,
    decode_time_at: usize,
    /// The decode time has 8 bytes, not 4.
    wide: bool,
    decode_time: u64,
}

impl Chunk {
    /// Reads an object of a CMAF track. `defaults` are those of the track's init segment.
    pub fn parse(payload: &Bytes, defaults: SampleDefaults) -> Result<Self, Mp4Error> {
        let mut chunk = Self {
            data: payload.clone(),
            fragments: Vec::new(),
            flags: SampleFlags(defaults.flags),
            decode_time: 0,
            last_decode_time: 0,
            end_time: 0,
        };
        let mut samples_follow = true;
        for found in children(payload, 0, payload.len())? {
            match &found.kind {
                b"moof" => {
                    chunk.add_fragment(found, defaults)?;
                    samples_follow = false;
                }
                b"mdat" => samples_follow = true,
                _ => {}
            }
        }
        if !samples_follow {
            return Err(Mp4Error::Missing("mdat"));
        }
        chunk.decode_time = chunk.fragments.first().ok_or(Mp4Error::Missing("moof"))?.decode_time;
        Ok(chunk)
    }

    fn add_fragment(&mut self, moof: BoxAt, defaults: SampleDefaults) -> Result<(), Mp4Error> {
        let data = self.data.clone();
        let in_moof = children(&data, moof.body, moof.end)?;
        let mfhd = first(&in_moof, b"mfhd").ok_or(Mp4Error::Missing("mfhd"))?;
        let trafs: Vec<_> = in_moof.iter().filter(|found| &found.kind == b"traf").collect();
        let [traf] = trafs[..] else { return Err(Mp4Error::Malformed("a moof needs exactly one track")) };
        let in_traf = children(&data, traf.body, traf.end)?;
        let tfhd = first(&in_traf, b"tfhd").ok_or(Mp4Error::Missing("tfhd"))?;
        let tfdt = first(&in_traf, b"tfdt").ok_or(Mp4Error::Missing("tfdt"))?;
        let defaults = fragment_defaults(&data, tfhd, defaults)?;

        let decode_time_at = tfdt.body.saturating_add(4);
        let wide = data.get(tfdt.body).is_some_and(|&version| version == 1);
        let decode_time =
            if wide { u64_at(&data, decode_time_at) } else { u32_at(&data, decode_time_at).map(u64::from) };
        let decode_time = decode_time.ok_or(Mp4Error::Malformed("a tfdt is cut off"))?;
        let mut time = decode_time;
        if let (true, Some(trun)) = (self.fragments.is_empty(), first(&in_traf, b"trun")) {
            self.flags = SampleFlags(first_flags(&data, trun)?.unwrap_or(defaults.flags));
        }
        for trun in in_traf.iter().filter(|found| &found.kind == b"trun") {
            for sample in sample_durations(&data, *trun, defaults.duration)? {
                self.last_decode_time = time;
                time = time.saturating_add(u64::from(sample));
            }
        }
        self.end_time = time;
        let (sequence_at, track_id_at) = (mfhd.body.saturating_add(4), tfhd.body.saturating_add(4));
        self.fragments.push(Fragment { sequence_at, track_id_at, decode_time_at, wide, decode_time });
        Ok(())
    }

    /// The chunk for another file: `track_id` there, its fragments counted on from `sequence`, its times moved by
    /// `shift(decode_time)`.
    pub fn rewrite(&self, track_id: u32, sequence: &mut u32, shift: impl Fn(u64) -> u64) -> Result<Bytes, Mp4Error> {
        const CUT: Mp4Error = Mp4Error::Malformed("a moof is cut off");
        let mut out = BytesMut::from(&self.data[..]);
        for fragment in &self.fragments {
            *sequence = sequence.wrapping_add(1);
            put_u32(&mut out, fragment.sequence_at, *sequence).ok_or(CUT)?;
            put_u32(&mut out, fragment.track_id_at, track_id).ok_or(CUT)?;
            let time = shift(fragment.decode_time);
            if fragment.wide {
                put_u64(&mut out, fragment.decode_time_at, time).ok_or(CUT)?;
            } else {
                let time = u32::try_from(time).map_err(|_| Mp4Error::Malformed("a time above 32 bits"))?;
                put_u32(&mut out, fragment.decode_time_at, time).ok_or(CUT)?;
            }
        }
        Ok(out.freeze())
    }
}

/// What the samples of a fragment have by default: what its `tfhd` says, else what the track's `defaults` do.
fn fragment_defaults(data: &[u8], tfhd: BoxAt, defaults: SampleDefaults) -> Result<SampleDefaults, Mp4Error> {
    const CUT: Mp4Error = Mp4Error::Malformed("a tfhd is cut off");
    let flags = u32_at(data, tfhd.body).ok_or(CUT)?;
    if flags & TFHD_BASE_DATA_OFFSET != 0 {
        return Err(Mp4Error::Malformed("a fragment with absolute offsets cannot be moved"));
    }
    let mut at = tfhd.body.saturating_add(8);
    let mut field = |flag: u32| {
        if flags & flag == 0 {
            return Ok(None);
        }
        let value = u32_at(data, at).ok_or(CUT)?;
        at = at.saturating_add(4);
        Ok(Some(value))
    };
    field(TFHD_SAMPLE_DESCRIPTION)?;
    let duration = field(TFHD_DEFAULT_DURATION)?.unwrap_or(defaults.duration);
    field(TFHD_DEFAULT_SIZE)?;
    let flags = field(TFHD_DEFAULT_FLAGS)?.unwrap_or(defaults.flags);
    Ok(SampleDefaults { duration, flags })
}

/// The flags that a `trun` itself gives its first sample.
fn first_flags(data: &[u8], trun: BoxAt) -> Result<Option<u32>, Mp4Error> {
    const CUT: Mp4Error = Mp4Error::Malformed("a trun is cut off");
    let flags = u32_at(data, trun.body).ok_or(CUT)?;
    let set = |flag: u32| usize::from(flags & flag != 0);
    let skipped = match flags {
        _ if flags & TRUN_FIRST_FLAGS != 0 => set(TRUN_DATA_OFFSET),
        _ if flags & TRUN_FLAGS != 0 && u32_at(data, trun.body.saturating_add(4)) != Some(0) => {
            set(TRUN_DATA_OFFSET) + set(TRUN_DURATION) + set(TRUN_SIZE)
        }
        _ => return Ok(None),
    };
    let at = trun.body.saturating_add(8 + 4 * skipped);
    u32_at(data, at).filter(|_| at.saturating_add(4) <= trun.end).ok_or(CUT).map(Some)
}

/// The duration of every sample of a `trun`, ticks.
fn sample_durations(data: &[u8], trun: BoxAt, default_duration: u32) -> Result<Vec<u32>, Mp4Error> {
    const CUT: Mp4Error = Mp4Error::Malformed("a trun is cut off");
    let flags = u32_at(data, trun.body).ok_or(CUT)?;
    let count = u32_at(data, trun.body.saturating_add(4)).ok_or(CUT)?;
    let count = usize::try_from(count).map_err(|_| CUT)?;
    let set = |flag: u32| usize::from(flags & flag != 0);
    let first_at = trun.body.saturating_add(8 + 4 * (set(TRUN_DATA_OFFSET) + set(TRUN_FIRST_FLAGS)));
    let sample_len = 4 * TRUN_OPTIONAL_FIELDS.iter().map(|&field| set(field)).sum::<usize>();
    // The table must fit its box, which bounds the count; samples without fields are bounded by the bytes they can have.
    let room = trun.end.saturating_sub(first_at).checked_div(sample_len).unwrap_or(data.len());
    if count > room {
        return Err(CUT);
    }
    if flags & TRUN_DURATION == 0 {
        return Ok(vec![default_duration; count]);
    }
    (0..count).map(|index| u32_at(data, first_at.saturating_add(index.saturating_mul(sample_len))).ok_or(CUT)).collect()
}
