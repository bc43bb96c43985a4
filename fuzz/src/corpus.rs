//! Seeds and findings on disk.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of this crate; a run stands in a checkout.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Every seed of a target, in the order of their names, so that a seed number leads to the same inputs everywhere.
pub(crate) fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(HERE).join("corpus").join(target))? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(fs::read).collect()
}

/// Keeps an input that broke a target; the name follows from its bytes.
pub(crate) fn keep(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let folder = Path::new(HERE).join("artifacts").join(target);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", hasher.finish()));
    fs::write(&path, input)?;
    Ok(path)
}
