//! Chunks: one or more `moof` + `mdat` of one track, as objects carry them, read and put into another file.

use bytes::{Bytes, BytesMut};

use super::boxes::{BoxAt, boxes, first, only};
use super::run::Run;
use super::sample::{Sample, SampleDefaults, SampleFlags};
use crate::MediaError;

const TFHD_BASE_DATA_OFFSET: u32 = 0x01;
const TFHD_SAMPLE_DESCRIPTION: u32 = 0x02;
const TFHD_DEFAULT_DURATION: u32 = 0x08;
const TFHD_DEFAULT_SIZE: u32 = 0x10;
const TFHD_DEFAULT_FLAGS: u32 = 0x20;
/// Of one chunk: half a minute of the smallest audio frames, at the highest rate.
const SAMPLES_MAX: u32 = 65_536;

/// An object's payload and the times in it, in ticks of its track.
#[derive(Debug, Clone)]
pub struct Chunk {
    data: Bytes,
    fragments: Vec<Fragment>,
    samples: u32,
    /// Of the first sample.
    pub flags: SampleFlags,
    /// When the first sample decodes.
    pub decode_time: u64,
    /// When the last sample decodes.
    pub last_decode_time: u64,
    /// When the last sample ends.
    pub end_time: u64,
}

/// One `moof`: what a new file changes in it, and where its samples are described.
#[derive(Debug, Clone)]
struct Fragment {
    moof: BoxAt,
    mfhd: BoxAt,
    traf: BoxAt,
    tfhd: BoxAt,
    tfdt: BoxAt,
    /// The decode time has 8 bytes, not 4.
    wide: bool,
    decode_time: u64,
    defaults: SampleDefaults,
}

impl Chunk {
    /// Reads an object of a CMAF track. `defaults` are those of the track's init segment.
    ///
    /// # Errors
    /// [`MediaError::MissingBox`] or [`MediaError::Malformed`] for what is no whole chunk of one track, and for one of more than
    /// 65,536 samples.
    pub fn parse(payload: &Bytes, defaults: SampleDefaults) -> Result<Self, MediaError> {
        let mut chunk = Self {
            data: payload.clone(),
            fragments: Vec::with_capacity(1),
            samples: 0,
            flags: defaults.flags,
            decode_time: 0,
            last_decode_time: 0,
            end_time: 0,
        };
        let mut samples_follow = true;
        for found in boxes(payload) {
            let found = found?;
            match &found.kind {
                b"moof" => {
                    chunk.add_fragment(Fragment::read(payload, found, defaults)?)?;
                    samples_follow = false;
                }
                b"mdat" => samples_follow = true,
                _ => {}
            }
        }
        if !samples_follow {
            return Err(MediaError::MissingBox("mdat"));
        }
        chunk.decode_time = chunk.fragments.first().ok_or(MediaError::MissingBox("moof"))?.decode_time;
        Ok(chunk)
    }

    fn add_fragment(&mut self, fragment: Fragment) -> Result<(), MediaError> {
        let data = self.data.clone();
        let mut time = fragment.decode_time;
        let mut first_flags = None;
        for run in fragment.runs(&data, SAMPLES_MAX.saturating_sub(self.samples)) {
            let run = run?;
            self.samples = self.samples.saturating_add(run.sample_count());
            if self.samples > SAMPLES_MAX {
                return Err(MediaError::Malformed("more samples than any chunk has"));
            }
            for entry in run {
                first_flags.get_or_insert(entry.flags);
                self.last_decode_time = time;
                time = time.saturating_add(u64::from(entry.duration));
            }
        }
        if self.fragments.is_empty() {
            self.flags = first_flags.unwrap_or(fragment.defaults.flags);
        }
        self.end_time = time;
        self.fragments.push(fragment);
        Ok(())
    }

    /// Every sample with its bytes, which are shared and not copied.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] when one lies outside of the object.
    pub fn samples(&self) -> Result<Vec<Sample>, MediaError> {
        const OUTSIDE: MediaError = MediaError::Malformed("a sample lies outside of its chunk");
        let mut samples = Vec::with_capacity(usize::try_from(self.samples).unwrap_or(0));
        for fragment in &self.fragments {
            // Where the run before ended; a first run that says nothing begins with its moof.
            let mut at = fragment.moof.start;
            for run in fragment.runs(&self.data, SAMPLES_MAX) {
                let run = run?;
                if let Some(offset) = run.data_offset {
                    let offset = isize::try_from(offset).map_err(|_| OUTSIDE)?;
                    at = fragment.moof.start.checked_add_signed(offset).ok_or(OUTSIDE)?;
                }
                for entry in run {
                    let len = usize::try_from(entry.size).map_err(|_| OUTSIDE)?;
                    let end = at.checked_add(len).filter(|&end| end <= self.data.len()).ok_or(OUTSIDE)?;
                    let data = self.data.slice(at..end);
                    let (duration, flags, composition) = (entry.duration, entry.flags, entry.composition);
                    samples.push(Sample { duration, flags, composition, data });
                    at = end;
                }
            }
        }
        Ok(samples)
    }

    /// What the first `mdat` holds: the bytes of all samples, in a chunk that was written as one.
    pub fn payload(&self) -> Bytes {
        let mdat = boxes(&self.data).flatten().find(|found| &found.kind == b"mdat");
        mdat.map_or_else(Bytes::new, |mdat| self.data.slice(mdat.body..mdat.end))
    }

    /// The chunk for another file: `track_id` there, its fragments counted on from `sequence`, its times moved by
    /// `shift(decode_time)`. Sizes never change, so offsets inside stay right.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] when a time of 32 bits would need more.
    pub fn rewrite(&self, track_id: u32, sequence: &mut u32, shift: impl Fn(u64) -> u64) -> Result<Bytes, MediaError> {
        const CUT: MediaError = MediaError::Malformed("a moof is cut off");
        let mut out = BytesMut::from(&self.data[..]);
        for fragment in &self.fragments {
            *sequence = sequence.wrapping_add(1);
            fragment.mfhd.put_u32(&mut out, 4, *sequence).ok_or(CUT)?;
            fragment.tfhd.put_u32(&mut out, 4, track_id).ok_or(CUT)?;
            let time = shift(fragment.decode_time);
            if fragment.wide {
                fragment.tfdt.put_u64(&mut out, 4, time).ok_or(CUT)?;
            } else {
                let time = u32::try_from(time).map_err(|_| MediaError::Malformed("a time above 32 bits"))?;
                fragment.tfdt.put_u32(&mut out, 4, time).ok_or(CUT)?;
            }
        }
        Ok(out.freeze())
    }
}

impl Fragment {
    fn read(data: &[u8], moof: BoxAt, defaults: SampleDefaults) -> Result<Self, MediaError> {
        let mfhd = first(moof.children(data), b"mfhd")?.ok_or(MediaError::MissingBox("mfhd"))?;
        let traf = only(moof.children(data), b"traf")?;
        let traf = traf.ok_or(MediaError::Malformed("a moof needs exactly one track"))?;
        let tfhd = first(traf.children(data), b"tfhd")?.ok_or(MediaError::MissingBox("tfhd"))?;
        let tfdt = first(traf.children(data), b"tfdt")?.ok_or(MediaError::MissingBox("tfdt"))?;
        let defaults = fragment_defaults(data, tfhd, defaults)?;
        mfhd.u32(data, 4).ok_or(MediaError::Malformed("an mfhd is cut off"))?;
        let wide = tfdt.u8(data, 0) == Some(1);
        let decode_time = if wide { tfdt.u64(data, 4) } else { tfdt.u32(data, 4).map(u64::from) };
        let decode_time = decode_time.ok_or(MediaError::Malformed("a tfdt is cut off"))?;
        Ok(Self { moof, mfhd, traf, tfhd, tfdt, wide, decode_time, defaults })
    }

    /// Its runs of at most `count_max` samples each.
    fn runs<'a>(&self, data: &'a [u8], count_max: u32) -> impl Iterator<Item = Result<Run<'a>, MediaError>> {
        let defaults = self.defaults;
        self.traf.children(data).filter_map(move |found| match found {
            Ok(found) if &found.kind == b"trun" => Some(Run::read(data, found, defaults, count_max)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

/// What the samples of a fragment have by default: what its `tfhd` says, else what the track's `defaults` do.
fn fragment_defaults(data: &[u8], tfhd: BoxAt, defaults: SampleDefaults) -> Result<SampleDefaults, MediaError> {
    const CUT: MediaError = MediaError::Malformed("a tfhd is cut off");
    let flags = tfhd.u32(data, 0).ok_or(CUT)?;
    if flags & TFHD_BASE_DATA_OFFSET != 0 {
        return Err(MediaError::Malformed("a fragment with absolute offsets cannot be moved"));
    }
    tfhd.u32(data, 4).ok_or(CUT)?;
    let mut at = 8usize;
    let mut field = |flag: u32| -> Result<Option<u32>, MediaError> {
        if flags & flag == 0 {
            return Ok(None);
        }
        let value = tfhd.u32(data, at).ok_or(CUT)?;
        at = at.saturating_add(4);
        Ok(Some(value))
    };
    field(TFHD_SAMPLE_DESCRIPTION)?;
    let duration = field(TFHD_DEFAULT_DURATION)?.unwrap_or(defaults.duration);
    let size = field(TFHD_DEFAULT_SIZE)?.unwrap_or(defaults.size);
    let flags = field(TFHD_DEFAULT_FLAGS)?.map_or(defaults.flags, SampleFlags);
    Ok(SampleDefaults { duration, size, flags })
}
