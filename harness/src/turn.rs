//! One after the other, whichever process they are in.

use std::fs::File;
use std::path::Path;

use crate::HarnessError;

/// The turn of whoever holds it, against threads and processes alike; the kernel ends it with the process.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Waits for the turn at this file, which is made when it is missing.
    ///
    /// # Errors
    /// [`HarnessError::File`] when it cannot be made or locked.
    pub fn wait(path: &Path) -> Result<Self, HarnessError> {
        let file = File::create(path).map_err(HarnessError::file("make", path))?;
        file.lock().map_err(HarnessError::file("lock", path))?;
        Ok(Self { _file: file })
    }
}
