//! What a recording has to be.

use std::path::Path;
use std::process::Command;

use crate::{decode_errors, probe};

/// Length of every film's video, and by how much the audio is longer.
const FILM_S: f64 = 5.28;
const LOOP_GAP_S: f64 = 0.032;

fn number(value: &serde_json::Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a number is expected, not {value}"))
}

fn rate(value: &serde_json::Value) -> f64 {
    let (frames, seconds) = value.as_str().and_then(|text| text.split_once('/')).expect("a fraction");
    frames.parse::<f64>().expect("a number") / seconds.parse::<f64>().expect("a number")
}

/// Asserts that a recording of so many seconds decodes without a complaint, has the streams it should have, and misses no more
/// than a second of frames. The films have 25 frames a second.
pub fn played_well(file: &Path, seconds: f64, video: bool, audio_channels: Option<u64>) {
    let complaints = decode_errors(file);
    assert!(complaints.is_empty(), "decoding says: {complaints}");
    let found = probe(file);
    let streams = found["streams"].as_array().expect("streams");
    let of = |kind: &str| streams.iter().find(|stream| stream["codec_type"] == kind);
    match of("video") {
        Some(stream) if video => {
            assert_eq!(stream["codec_name"], "h264");
            let average = rate(&stream["avg_frame_rate"]);
            // Where a film starts again, its longer audio holds the next frame back.
            let gaps_s = LOOP_GAP_S * (1.0 + (seconds / FILM_S).floor());
            let low = 25.0 * (1.0 - gaps_s / seconds);
            assert!((low - 0.1..25.1).contains(&average), "frame rate {average} instead of {low} to 25");
            let frames = number(&stream["nb_read_frames"]);
            assert!(frames >= (seconds - 1.0) * 25.0, "{frames} frames in {seconds} s");
        }
        found => assert_eq!(found.is_some(), video, "a video stream is there or not"),
    }
    assert_eq!(of("audio").map(|stream| stream["channels"].as_u64().expect("a number")), audio_channels);
}

/// Asserts that a recording of a camera decodes whole, with pictures of H.264 (so many at least) and with Opus.
pub fn camera_played_well(file: &Path, frames_min: u64) {
    // Times stay as they are: a camera has no frame rate that they could be rounded to.
    let decode = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    let output = Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(file).args(decode).output();
    let complaints = output.expect("ffmpeg is installed").stderr;
    assert!(complaints.is_empty(), "decoding says: {}", String::from_utf8_lossy(&complaints));
    let found = probe(file);
    let streams = found["streams"].as_array().expect("streams");
    let of = |kind: &str| streams.iter().find(|stream| stream["codec_type"] == kind).expect("a stream of each kind");
    let (video, audio) = (of("video"), of("audio"));
    assert_eq!((video["codec_name"].as_str(), audio["codec_name"].as_str()), (Some("h264"), Some("opus")));
    let frames: u64 = video["nb_read_frames"].as_str().and_then(|count| count.parse().ok()).expect("a count");
    assert!(frames >= frames_min, "{frames} frames");
}
