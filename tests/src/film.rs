//! Test films, made once from the sample film.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{binary_folder, repo};

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

/// Names the folder of the films; without it they lie below the target folder, and go with the checkout.
const FOLDER: &str = "STREAMS_TEST_FILMS";

/// What the tests of this checkout keep from one run to the next, or share between their processes.
pub(crate) fn kept() -> PathBuf {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from).unwrap_or_else(|| binary_folder().join("test-films"));
    std::fs::create_dir_all(&folder).expect("a folder for films");
    folder
}

/// The file of a film; encoded by the first who asks, while all others wait.
pub fn film(film: Film) -> PathBuf {
    film_in(&kept(), film)
}

fn film_in(folder: &Path, film: Film) -> PathBuf {
    let source = repo().join("assets/bigbuckbunny-720p25-h264-aac.mp4");
    let (name, recipe) = film.recipe();
    let mut hasher = DefaultHasher::new();
    (std::fs::read(&source).expect("the sample film"), &recipe).hash(&mut hasher);
    let name = format!("{name}-{:016x}", hasher.finish());
    let path = folder.join(format!("{name}.mp4"));
    // Held until the end of this function, against threads and processes alike.
    let turn = File::create(folder.join(format!("{name}.lock"))).expect("a lock beside the film");
    turn.lock().expect("a file can be locked");
    if path.exists() {
        return path;
    }
    // Under another name, so that a film that was cut short is never taken for one.
    let fresh = folder.join(format!("{name}.part.mp4"));
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-i"])
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

/// What a decoder says that starts at a recovery point: it lacks pictures that the stream refers to or wants forgotten.
const MISSING_REFERENCES: [&str; 5] = [
    "mmco: unref short failure",
    "reference picture missing during reorder",
    "Missing reference picture",
    "number of reference frames",
    "co located POCs unavailable",
];

/// ffprobe's streams and format of a file as JSON, frames counted.
pub fn probe(file: &Path) -> serde_json::Value {
    probe_but(file, &[])
}

/// As [`probe`], of a file that begins at a recovery point.
pub fn probe_refresh(file: &Path) -> serde_json::Value {
    probe_but(file, &MISSING_REFERENCES)
}

fn probe_but(file: &Path, allowed: &[&str]) -> serde_json::Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| !allowed.iter().any(|part| line.contains(part))).collect();
    assert!(complaints.is_empty(), "ffprobe of {} says: {}", file.display(), complaints.join("\n"));
    serde_json::from_slice(&output.stdout).expect("ffprobe prints JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("streams-films-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn all_who_want_a_film_first_get_the_same_whole_file() {
        let folder = Folder::new("first");
        let start = std::sync::Barrier::new(8);
        let films: Vec<PathBuf> = std::thread::scope(|scope| {
            let ask = || {
                start.wait();
                film_in(&folder.0, Film::Original)
            };
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(films.iter().all(|film| *film == films[0]));
        assert_eq!(decode_errors(&films[0]), "");
    }

    #[test]
    fn a_film_whose_encoder_was_killed_half_way_is_made_again() {
        let folder = Folder::new("again");
        let whole = film_in(&folder.0, Film::Original);
        let half = whole.with_extension("part.mp4");
        std::fs::rename(&whole, &half).unwrap();
        std::fs::OpenOptions::new().write(true).open(&half).unwrap().set_len(10_000).unwrap();
        assert_eq!(decode_errors(&film_in(&folder.0, Film::Original)), "");
    }
}
