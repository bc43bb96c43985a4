//! MP4 files read as access units: what `moov` says of the tracks, where the samples lie, and what they are.
//!
//! ```text
//!   moov --> Movie --+-- samples()         a whole file: all samples, in the order that they are decoded
//!                    '-- fragment(moof)    a fragmented one: the samples of one fragment
//!   sample's bytes --> Movie::unit --> AccessUnit
//! ```
//!
//! The first picture track and the first sound track that can be read are taken. Times are those of the edit list: zero is what a
//! player shows first, so that picture and sound fit each other.

mod fragment;
mod table;
mod track;

use bytes::Bytes;
use mp4_atom::{Decode as _, Moof, Moov};

use crate::{AccessUnit, Av1Config, CodecConfig, MediaError, MediaKind};
use track::MovieTrack;

/// Where one sample lies and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovieSample {
    /// Which track: an index for [`Movie::unit`].
    pub track: usize,
    /// Decoding time in microseconds; may be negative.
    pub dts_us: i64,
    /// Presentation time in microseconds.
    pub pts_us: i64,
    /// Its duration in microseconds.
    pub duration_us: i64,
    /// The container calls it a key frame.
    pub key: bool,
    /// Offset of its first byte: in the file, or from the start of its `moof`.
    pub offset: u64,
    /// Its bytes.
    pub len: usize,
}

/// What a file's `moov` says.
#[derive(Debug)]
pub struct Movie {
    tracks: Vec<MovieTrack>,
    fragmented: bool,
}

impl Movie {
    /// Reads a whole `moov` box.
    ///
    /// # Errors
    /// [`MediaError::Write`] never; [`MediaError::Malformed`] when it cannot be read or has no track that can be.
    pub fn parse(moov: &[u8]) -> Result<Self, MediaError> {
        let moov = Moov::decode(&mut &*moov).map_err(|_| MediaError::Malformed("its moov cannot be read"))?;
        let fragmented = moov.mvex.is_some();
        let mut tracks: Vec<MovieTrack> = Vec::new();
        let mut refused = None;
        for trak in &moov.trak {
            match MovieTrack::read(&moov, trak) {
                Ok(Some(track)) if tracks.iter().all(|known| known.kind != track.kind) => tracks.push(track),
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        if tracks.is_empty() {
            return Err(refused.unwrap_or(MediaError::Malformed("it has no picture and no sound that can be read")));
        }
        Ok(Self { tracks, fragmented })
    }

    /// The samples lie in fragments.
    pub fn is_fragmented(&self) -> bool {
        self.fragmented
    }

    /// It has a track of this kind.
    pub fn has(&self, kind: MediaKind) -> bool {
        self.tracks.iter().any(|track| track.kind == kind)
    }

    /// All samples of a file that is not fragmented, in order of decoding time over all tracks.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] when the tables contradict each other.
    pub fn samples(&self) -> Result<Vec<MovieSample>, MediaError> {
        let mut all = Vec::new();
        for (index, track) in self.tracks.iter().enumerate() {
            table::samples(index, track, &mut all)?;
        }
        all.sort_by_key(|sample| sample.dts_us);
        Ok(all)
    }

    /// The samples of one fragment, by a whole `moof` box; they lie behind it. In order of decoding time over all tracks.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] when it cannot be read.
    pub fn fragment(&mut self, moof: &[u8]) -> Result<Vec<MovieSample>, MediaError> {
        let moof = Moof::decode(&mut &*moof).map_err(|_| MediaError::Malformed("a moof cannot be read"))?;
        let mut all = Vec::new();
        for traf in &moof.traf {
            let found = self.tracks.iter_mut().enumerate().find(|(_, track)| track.id == traf.tfhd.track_id);
            if let Some((index, track)) = found {
                fragment::samples(index, track, traf, &mut all)?;
            }
        }
        all.sort_by_key(|sample| sample.dts_us);
        Ok(all)
    }

    /// A sample with its bytes as an access unit; `None` when they are none.
    pub fn unit(&mut self, sample: &MovieSample, data: Bytes) -> Option<AccessUnit> {
        let config = self.tracks.get_mut(sample.track)?.config(&data)?;
        let data = match config.as_ref() {
            CodecConfig::Av1(_) => Av1Config::without_delimiter(data),
            _ => data,
        };
        let access = config.access(&data, sample.key)?;
        Some(AccessUnit { pts_us: sample.pts_us, dts_us: sample.dts_us, access, data, config })
    }
}
