//! The film that is published: a file with a key frame every two seconds, and its frames as RTMP carries them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;

use crate::error::BenchError;

/// Signature, version, flags, header length, and the first `PreviousTagSize`.
const FLV_HEADER_LEN: usize = 13;
/// Type, 24-bit length, 24+8-bit time, 24-bit stream id (FLV Annex E.4.1).
const TAG_HEADER_LEN: usize = 11;
/// `PreviousTagSize` behind every tag.
const TAG_TRAILER_LEN: usize = 4;
/// Frame type and codec, packet type, composition time (Annex E.4.3).
const AVC_HEADER_LEN: usize = 5;
/// `CodecID` of H.264, and `SoundFormat` of AAC.
const AVC: u8 = 7;
const AAC: u8 = 10;
/// Packet type of a sequence header, for both codecs, and of a frame.
const SEQUENCE_HEADER: u8 = 0;
const FRAME: u8 = 1;

/// What a tag carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sequence header of the video.
    VideoConfig,
    /// A sequence header of the audio.
    AudioConfig,
    /// A video frame: index into [`Film::frames`].
    Video(usize),
    /// An audio frame.
    Audio,
}

/// One RTMP message.
#[derive(Debug, Clone)]
pub struct Tag {
    /// What it carries.
    pub kind: Kind,
    /// Decoding time, ms from the film's first tag.
    pub dts_ms: u64,
    /// The message's payload.
    pub body: Bytes,
}

/// Identity of a coded picture: its length and a hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Picture {
    len: usize,
    hash: u64,
}

impl Picture {
    /// Of a coded picture's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self { len: bytes.len(), hash: hasher.finish() }
    }
}

/// One video frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// It starts a group: it holds a slice of an IDR picture.
    pub key: bool,
    /// Its coded picture.
    pub picture: Picture,
}

/// A film in memory.
#[derive(Debug, Clone)]
pub struct Film {
    /// Sequence headers first, then frames in the order of the file.
    pub tags: Vec<Tag>,
    /// Its video frames in decoding order.
    pub frames: Vec<Frame>,
    /// When it starts over, ms: the longest of its tracks.
    pub duration_ms: u64,
}

impl Film {
    /// Reads a film through ffmpeg, which only changes the container.
    ///
    /// # Errors
    /// [`BenchError::Command`] when ffmpeg fails, [`BenchError::Film`] when there is no H.264 that starts with a key frame.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let arguments: Vec<&str> = "-c copy -f flv -flvflags no_duration_filesize -".split(' ').collect();
        let flv = ffmpeg(&["-i".as_ref(), path.as_os_str()], &arguments)?;
        Self::parse(&Bytes::from(flv)).map_err(|reason| BenchError::Film { path: path.to_owned(), reason })
    }

    fn parse(flv: &Bytes) -> Result<Self, &'static str> {
        let mut reader = Reader::default();
        let mut rest = flv.get(FLV_HEADER_LEN..).ok_or("it has no FLV header")?;
        while let Some((header, tail)) = rest.split_first_chunk::<TAG_HEADER_LEN>() {
            let [kind, l2, l1, l0, t2, t1, t0, t3, ..] = *header;
            let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            let (body, tail) = tail.split_at_checked(length).ok_or("it is cut short")?;
            reader.tag(kind, u32::from_be_bytes([t3, t2, t1, t0]), flv.slice_ref(body));
            rest = tail.get(TAG_TRAILER_LEN..).unwrap_or_default();
        }
        reader.film()
    }

    /// Frames a group, for all groups of one pass through the film.
    pub fn group_lens(&self) -> Vec<u64> {
        let mut lens = Vec::new();
        for frame in &self.frames {
            match lens.last_mut() {
                Some(last) if !frame.key => *last += 1,
                _ => lens.push(1),
            }
        }
        lens
    }
}

/// Collects the tags of an FLV file.
#[derive(Default)]
struct Reader {
    tags: Vec<Tag>,
    frames: Vec<Frame>,
    nal_length_size: usize,
    first_ms: Option<u64>,
    video_ms: Vec<u64>,
    audio_ms: Vec<u64>,
}

impl Reader {
    /// Takes what a broadcast carries; other tags are left out.
    fn tag(&mut self, kind: u8, time_ms: u32, body: Bytes) {
        let time_ms = u64::from(time_ms);
        let kind = match (kind, body.first_chunk::<2>()) {
            (9, Some([first, SEQUENCE_HEADER])) if first & 0xf == AVC => {
                // AVCDecoderConfigurationRecord: lengthSizeMinusOne is in the fifth byte (ISO/IEC 14496-15 §5.3.3.1).
                let size = body.get(AVC_HEADER_LEN + 4).map_or(0, |byte| usize::from(byte & 0b11) + 1);
                self.nal_length_size = size;
                Kind::VideoConfig
            }
            (9, Some([first, FRAME])) if first & 0xf == AVC => {
                let picture = body.get(AVC_HEADER_LEN..).unwrap_or_default();
                let frame = Frame { key: has_idr(picture, self.nal_length_size), picture: Picture::of(picture) };
                self.frames.push(frame);
                self.video_ms.push(time_ms);
                Kind::Video(self.frames.len().saturating_sub(1))
            }
            (8, Some([first, SEQUENCE_HEADER])) if first >> 4 == AAC => Kind::AudioConfig,
            (8, Some([first, FRAME])) if first >> 4 == AAC => {
                self.audio_ms.push(time_ms);
                Kind::Audio
            }
            _ => return,
        };
        let first_ms = *self.first_ms.get_or_insert(time_ms);
        self.tags.push(Tag { kind, dts_ms: time_ms.saturating_sub(first_ms), body });
    }

    fn film(self) -> Result<Film, &'static str> {
        let Self { tags, frames, video_ms, audio_ms, .. } = self;
        if !frames.first().is_some_and(|frame| frame.key) {
            return Err("it has no H.264 video that starts with a key frame");
        }
        let duration_ms = track_ms(&video_ms).max(track_ms(&audio_ms));
        if duration_ms == 0 {
            return Err("it has less than two frames");
        }
        Ok(Film { tags, frames, duration_ms })
    }
}

/// From the first frame to the end of the last, which lasts as long as the others do on average.
fn track_ms(times: &[u64]) -> u64 {
    let (Some(first), Some(last), steps) = (times.first(), times.last(), times.len().saturating_sub(1) as u64) else {
        return 0;
    };
    let span = last.saturating_sub(*first);
    span.saturating_add(span.checked_div(steps).unwrap_or(0))
}

/// Whether a picture has a NAL unit of type 5.
fn has_idr(mut picture: &[u8], length_size: usize) -> bool {
    while let Some((prefix, tail)) = picture.split_at_checked(length_size).filter(|(prefix, _)| !prefix.is_empty()) {
        let length = prefix.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
        let Some((unit, tail)) = tail.split_at_checked(length) else { return false };
        if unit.first().is_some_and(|header| header & 0x1f == 5) {
            return true;
        }
        picture = tail;
    }
    false
}

/// The named film, or the project's sample with a key frame every two seconds.
///
/// # Errors
/// [`BenchError::Harness`] when ffmpeg fails.
pub fn file(named: Option<&Path>) -> Result<PathBuf, BenchError> {
    match named {
        Some(path) => path.canonicalize().map_err(BenchError::file("find", path)),
        None => Ok(streams_harness::film::film(streams_harness::Film::Gop2s)?),
    }
}

/// What ffmpeg writes to its output.
pub fn ffmpeg(input: &[&std::ffi::OsStr], output: &[&str]) -> Result<Vec<u8>, BenchError> {
    let failed = |reason| BenchError::Command { command: "ffmpeg".to_owned(), reason };
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]).args(input).args(output).stdin(Stdio::null());
    let done = command.output().map_err(|error| failed(error.to_string()))?;
    if !done.status.success() {
        return Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
    }
    Ok(done.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, time_ms: u32, body: &[u8]) -> Vec<u8> {
        let [_, l2, l1, l0] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let [t3, t2, t1, t0] = time_ms.to_be_bytes();
        let header = [kind, l2, l1, l0, t2, t1, t0, t3, 0, 0, 0];
        [&header[..], body, &[0; TAG_TRAILER_LEN]].concat()
    }

    fn video(time_ms: u32, nal_type: u8) -> Vec<u8> {
        tag(9, time_ms, &[0x27, 1, 0, 0, 0, 0, 0, 0, 2, nal_type, time_ms as u8])
    }

    fn flv(tags: &[Vec<u8>]) -> Bytes {
        let config = tag(9, 40, &[0x17, 0, 0, 0, 0, 1, 66, 0, 30, 0xff]);
        Bytes::from([vec![0; FLV_HEADER_LEN], tag(18, 0, b"metadata"), config, tags.concat()].concat())
    }

    #[test]
    fn a_group_starts_at_an_idr_whatever_the_flag_of_the_tag_says() {
        let film = Film::parse(&flv(&[video(40, 5), video(80, 1), video(120, 1), video(160, 5)])).unwrap();
        assert_eq!(film.group_lens(), [3, 1]);
        assert_eq!(film.duration_ms, 160);
        let times: Vec<u64> = film.tags.iter().map(|tag| tag.dts_ms).collect();
        assert_eq!(times, [0, 0, 40, 80, 120]);
        assert_ne!(film.frames[1].picture, film.frames[2].picture);
    }

    #[test]
    fn the_sample_has_a_group_every_two_seconds() {
        assert_eq!(Film::read(&file(None).unwrap()).unwrap().group_lens()[0], 50);
    }

    #[test]
    fn a_film_that_starts_in_the_middle_of_a_group_is_refused() {
        assert!(Film::parse(&flv(&[video(40, 1), video(80, 5)])).is_err());
        assert!(Film::parse(&flv(&[])).is_err());
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused() {
        let whole = flv(&[video(40, 5), video(80, 1)]);
        assert!(Film::parse(&whole.slice(..whole.len() - TAG_TRAILER_LEN - 1)).is_err());
    }
}
