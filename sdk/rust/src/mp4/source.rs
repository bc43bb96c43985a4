//! Real encoder output for tests, and what ffmpeg and ffprobe say about files.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use streams_media::fmp4::{BoxAt, Chunk, InitSegment, SampleDefaults, boxes};

/// A folder of its own for one test, removed at its end.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("streams-sdk-mp4-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What ffmpeg says on its error output.
pub(crate) fn ffmpeg(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-y"]).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {arguments:?}: {errors}");
    errors
}

/// An encoder's track: its init segment and its chunks.
pub(crate) struct Source {
    pub init: Bytes,
    pub chunks: Vec<Bytes>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let data = Bytes::from(std::fs::read(path).unwrap());
        let boxes: Vec<BoxAt> = boxes(&data).map(Result::unwrap).collect();
        let moov = boxes.iter().find(|found| &found.kind == b"moov").unwrap();
        let moofs: Vec<usize> = boxes.iter().filter(|found| &found.kind == b"moof").map(|found| found.start).collect();
        let media_end = boxes.iter().find(|found| &found.kind == b"mfra").map_or(data.len(), |mfra| mfra.start);
        let ends = moofs.iter().skip(1).copied().chain([media_end]);
        let chunks = moofs.iter().zip(ends).map(|(&start, end)| data.slice(start..end)).collect();
        Self { init: data.slice(..moov.end), chunks }
    }

    /// The same media on a clock that is ahead; ffmpeg itself always begins a file at zero.
    pub(crate) fn later(self, seconds: u64) -> Self {
        let timescale = u64::from(InitSegment::parse(&self.init).unwrap().timescale);
        let moved = |chunk: &Bytes| {
            let chunk = Chunk::parse(chunk, SampleDefaults::default()).unwrap();
            chunk.rewrite(1, &mut 0, |time| time + seconds * timescale).unwrap()
        };
        Self { chunks: self.chunks.iter().map(moved).collect(), ..self }
    }
}

const FRAGMENTED: &str = "empty_moov+default_base_moof+omit_tfhd_offset+separate_moof";

/// Four seconds of 25 pictures a second with B-frames, one chunk a frame, times beginning at `start_s`.
pub(crate) fn video(folder: &Folder, start_s: u64) -> Source {
    video_of(folder, "320x180", start_s)
}

/// The same in another size.
pub(crate) fn video_of(folder: &Folder, size: &str, start_s: u64) -> Source {
    let path = folder.0.join(format!("video-{size}-{start_s}.mp4"));
    let pattern = format!("testsrc2=size={size}:rate=25:duration=4");
    let movflags = format!("{FRAGMENTED}+frag_every_frame");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &pattern,
        "-c:v",
        "libx264",
        "-g",
        "50",
        "-bf",
        "2",
        "-video_track_timescale",
        "90000",
        "-movflags",
        &movflags,
        path.to_str().unwrap(),
    ]);
    Source::read(&path).later(start_s)
}

/// Four seconds of tone, chunks of about 200 ms.
pub(crate) fn audio(folder: &Folder, start_s: u64) -> Source {
    let path = folder.0.join(format!("audio-{start_s}.mp4"));
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000:duration=4",
        "-c:a",
        "aac",
        "-frag_duration",
        "200000",
        "-movflags",
        FRAGMENTED,
        path.to_str().unwrap(),
    ]);
    Source::read(&path).later(start_s)
}

/// Fields of `-show_entries` for one stream, `key=value` a line.
pub(crate) fn probe(path: &Path, stream: &str, entries: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-count_frames", "-show_entries", entries, "-of"])
        .args(["default=nokey=1:noprint_wrappers=1", path.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "ffprobe has nothing to complain about");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Decodes everything; what ffmpeg complains about.
pub(crate) fn decode_complaints(path: &Path) -> String {
    ffmpeg(&["-v", "warning", "-i", path.to_str().unwrap(), "-f", "null", "-"])
}
