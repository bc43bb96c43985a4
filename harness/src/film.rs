//! Films, made once from the project's sample for all who ask.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::build_folder;
use crate::{HarnessError, Turn, repo};

/// What an encoder pushes.
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

/// What the tests and measurements of this checkout keep from one run to the next, or share between their processes.
///
/// # Errors
/// [`HarnessError::File`] when the folder cannot be made.
pub fn kept() -> Result<PathBuf, HarnessError> {
    let folder = match std::env::var_os(FOLDER) {
        Some(named) => PathBuf::from(named),
        None => build_folder()?.join("test-films"),
    };
    std::fs::create_dir_all(&folder).map_err(HarnessError::file("make", &folder))?;
    Ok(folder)
}

/// The file of a film; encoded by the first who asks, while all others wait.
///
/// # Errors
/// [`HarnessError::Command`] when ffmpeg fails.
pub fn film(film: Film) -> Result<PathBuf, HarnessError> {
    film_in(&kept()?, film)
}

fn film_in(folder: &Path, film: Film) -> Result<PathBuf, HarnessError> {
    let source = repo().join("assets/bigbuckbunny-720p25-h264-aac.mp4");
    let (name, recipe) = film.recipe();
    let mut hasher = DefaultHasher::new();
    let sample = std::fs::read(&source).map_err(HarnessError::file("read", &source))?;
    (sample, &recipe).hash(&mut hasher);
    let name = format!("{name}-{:016x}", hasher.finish());
    let path = folder.join(format!("{name}.mp4"));
    let _turn = Turn::wait(&folder.join(format!("{name}.lock")))?;
    if path.exists() {
        return Ok(path);
    }
    // Under another name, so that a film that was cut short is never taken for one.
    let fresh = folder.join(format!("{name}.part.mp4"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(&source).args(recipe).arg(&fresh).stdin(Stdio::null());
    let made = ffmpeg.output().map_err(HarnessError::command("ffmpeg"))?;
    if !made.status.success() {
        let reason = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(HarnessError::Command { command: "ffmpeg".to_owned(), reason });
    }
    std::fs::rename(&fresh, &path).map_err(HarnessError::file("make", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a full decode complains about.
    fn decode_errors(file: &Path) -> String {
        let ffmpeg = Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(file).args(["-f", "null", "-"]).output();
        String::from_utf8_lossy(&ffmpeg.unwrap().stderr).into_owned()
    }

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
                film_in(&folder.0, Film::Original).unwrap()
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
        let whole = film_in(&folder.0, Film::Original).unwrap();
        let half = whole.with_extension("part.mp4");
        std::fs::rename(&whole, &half).unwrap();
        std::fs::OpenOptions::new().write(true).open(&half).unwrap().set_len(10_000).unwrap();
        assert_eq!(decode_errors(&film_in(&folder.0, Film::Original).unwrap()), "");
    }
}
