//! Test films, made once from the sample film.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo;

/// What a test pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Film {
    /// The sample as it is: one key frame, 5.1 AAC.
    Original,
    /// A key frame every 2 s, no B-frames, stereo.
    Gop2s,
    /// A key frame every 2 s, B-frames; the 5.1 AAC is copied.
    BFrames,
    /// [`Film::Gop2s`] without audio.
    VideoOnly,
    /// The audio of [`Film::Gop2s`] alone.
    AudioOnly,
    /// 640x360 and another sequence header than [`Film::Gop2s`].
    Small,
}

impl Film {
    fn recipe(self) -> (&'static str, Vec<&'static str>) {
        let gop = [
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-g",
            "50",
            "-keyint_min",
            "50",
            "-sc_threshold",
            "0",
            "-flags",
            "+cgop",
        ];
        let with = |more: &[&'static str]| gop.iter().chain(more).copied().collect::<Vec<_>>();
        match self {
            Self::Original => ("original", vec!["-c", "copy"]),
            Self::Gop2s => ("gop2s", with(&["-bf", "0", "-c:a", "aac", "-ac", "2"])),
            Self::BFrames => ("bframes", with(&["-bf", "3", "-b_strategy", "0", "-c:a", "copy"])),
            Self::VideoOnly => ("video", with(&["-bf", "0", "-an"])),
            Self::AudioOnly => ("audio", vec!["-vn", "-c:a", "aac", "-ac", "2"]),
            Self::Small => ("small", with(&["-bf", "0", "-vf", "scale=640:360", "-c:a", "aac", "-ac", "2"])),
        }
    }
}

/// The file of a film; encoded on the first call of all tests on this machine.
pub fn film(film: Film) -> PathBuf {
    let source = repo().join("assets/bigbuckbunny-720p25-h264-aac.mp4");
    let (name, recipe) = film.recipe();
    let folder = std::env::temp_dir().join("streams-test-films");
    std::fs::create_dir_all(&folder).expect("a folder for films");
    let path = folder.join(format!("{name}.mp4"));
    if path.exists() {
        return path;
    }
    let fresh = folder.join(format!("{name}.{}.mp4", std::process::id()));
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(&source)
        .args(recipe)
        .arg(&fresh)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg could not make {name}");
    std::fs::rename(&fresh, &path).expect("the film can be put in place");
    path
}

/// Everything that a full decode of `file` complains about; empty when it is good.
pub fn decode_errors(file: &Path) -> String {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-i"])
        .arg(file)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// ffprobe's streams and format of a file as JSON, frames counted.
pub fn probe(file: &Path) -> serde_json::Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.is_empty(), "ffprobe of {} says: {complaints}", file.display());
    serde_json::from_slice(&output.stdout).expect("ffprobe prints JSON")
}
