//! Where the workspaces of one data directory lie, and how a new generation takes over.
//!
//! ```text
//! /dev/shm/streams-<16 hex>/control.7            a generation's file
//! /dev/shm/streams-<16 hex>/control.current  ->  control.7
//! ```

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use streams_rings::RingsError;

/// Hex digits of the data directory's hash in the folder's name: 64 bits, enough to keep directories of a machine apart.
const HASH_DIGITS: usize = 16;

/// Folder of the workspaces of a data directory, from the SHA-256 (hex) of its canonical path's bytes.
pub fn run_dir(data_dir_hash_hex: &str) -> PathBuf {
    let digits: String = data_dir_hash_hex.chars().take(HASH_DIGITS).collect();
    PathBuf::from(format!("/dev/shm/streams-{digits}"))
}

/// Makes the folder, mode 0750, when it is absent. A link of that name, or the folder of a user other than root, this one and
/// `trusted` (the id of the user that a root engine becomes), is refused: everybody may write in `/dev/shm`.
pub fn create_run_dir(run_dir: &Path, trusted: Option<u32>) -> Result<(), RingsError> {
    let io = |source| RingsError::Io { action: "create", path: run_dir.to_path_buf(), source };
    match fs::DirBuilder::new().mode(0o750).create(run_dir) {
        Ok(()) => fs::set_permissions(run_dir, fs::Permissions::from_mode(0o750)).map_err(io),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(run_dir).map_err(io)?;
            let own = rustix::process::geteuid().as_raw();
            if found.is_dir() && (found.uid() == own || found.uid() == 0 || Some(found.uid()) == trusted) {
                Ok(())
            } else {
                let owner = found.uid();
                let reason = format!(
                    "it is there and neither root's, this user's nor the engine's user's folder, but that of user id {owner}: look \
                     who made it, then remove it"
                );
                Err(io(Error::new(ErrorKind::PermissionDenied, reason)))
            }
        }
        Err(error) => Err(io(error)),
    }
}

/// Path of one generation of a workspace (`control` or `shards`).
pub fn generation_path(run_dir: &Path, name: &str, generation: u64) -> PathBuf {
    run_dir.join(format!("{name}.{generation}"))
}

/// Path to join: the link to the current generation.
pub fn current_path(run_dir: &Path, name: &str) -> PathBuf {
    run_dir.join(format!("{name}.current"))
}

/// The generation after every one present in the folder; the first is 1.
pub fn next_generation(run_dir: &Path, name: &str) -> Result<u64, RingsError> {
    Ok(generations(run_dir, name)?.into_iter().max().unwrap_or(0).saturating_add(1))
}

/// Points the `current` link at `generation` in one step and removes the files of all others: whoever has one mapped
/// keeps its memory until it unmaps it, and nobody can join it any more.
pub fn switch_current(run_dir: &Path, name: &str, generation: u64) -> Result<(), RingsError> {
    let link = current_path(run_dir, name);
    let fresh = run_dir.join(format!(".{name}.current.{}", std::process::id()));
    let io = |source| RingsError::Io { action: "link", path: link.clone(), source };
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    symlink(format!("{name}.{generation}"), &fresh).map_err(io)?;
    fs::rename(&fresh, &link).map_err(io)?;
    for old in generations(run_dir, name)?.into_iter().filter(|found| *found != generation) {
        fs::remove_file(generation_path(run_dir, name, old)).map_err(io)?;
    }
    Ok(())
}

fn generations(run_dir: &Path, name: &str) -> Result<Vec<u64>, RingsError> {
    let io = |source| RingsError::Io { action: "list", path: run_dir.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(run_dir).map_err(io)? {
        let file = entry.map_err(io)?.file_name();
        let generation = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse::<u64>().ok());
        found.extend(generation);
    }
    Ok(found)
}
