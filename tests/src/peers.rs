//! Encoders of others that `scripts/setup-peers` installs.

use std::path::PathBuf;

use streams_harness as harness;

/// FFmpeg 9: WHIP and Enhanced RTMP. `None` where it is not installed, which is said.
pub fn ffmpeg_9() -> Option<PathBuf> {
    installed(harness::ffmpeg_9(), "FFmpeg 9")
}

/// A Python with `aiortc`. `None` where it is not installed, which is said.
pub fn python_with_aiortc() -> Option<PathBuf> {
    installed(harness::python_with_aiortc(), "aiortc")
}

/// Where this runs as a gate the peer has to be there.
fn installed<T>(found: Option<T>, name: &str) -> Option<T> {
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed: run scripts/setup-peers");
        eprintln!("NOT RUN: {name} is not installed: run scripts/setup-peers");
    }
    found
}
