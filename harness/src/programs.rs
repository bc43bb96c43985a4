//! The checkout, and the programs that were built with the one that runs.

use std::path::{Path, PathBuf};

use crate::HarnessError;

/// The checkout that this was built from.
pub fn repo() -> PathBuf {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    harness.parent().unwrap_or(harness).to_owned()
}

/// The folder of the build that this program belongs to: a test lies in `deps` of it.
pub(crate) fn build_folder() -> Result<PathBuf, HarnessError> {
    let this = std::env::current_exe().map_err(HarnessError::file("find", "this program"))?;
    let folder = this.parent().unwrap_or(&this);
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// A program of the same build as this one.
///
/// # Errors
/// [`HarnessError::NotBuilt`].
pub fn program(name: &str) -> Result<PathBuf, HarnessError> {
    let path = build_folder()?.join(name);
    let profile = if cfg!(debug_assertions) { "" } else { "--release " };
    if path.is_file() { Ok(path) } else { Err(HarnessError::NotBuilt { path, profile }) }
}

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
