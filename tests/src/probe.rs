//! What ffmpeg's decoder and ffprobe say of a file.

use std::path::Path;
use std::process::Command;

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
