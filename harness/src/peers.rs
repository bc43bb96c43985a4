//! Encoders of others that `scripts/setup-peers` brings into the user's cache.

use std::path::PathBuf;

/// FFmpeg 9, which pushes by WHIP and Enhanced RTMP; `None` where it is not installed.
pub fn ffmpeg_9() -> Option<PathBuf> {
    installed("ffmpeg")
}

/// A Python that has `aiortc`; `None` where it is not installed.
pub fn python_with_aiortc() -> Option<PathBuf> {
    installed("python3")
}

fn installed(program: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let path = cache.join("streams/peers-1/bin").join(program);
    path.exists().then_some(path)
}
