//! A data directory of its own for one test.

use std::path::Path;

use streams_control::datadir::DataDir;
use streams_control::ids;

/// A data directory, and the folder in shared memory that belongs to it; both go afterwards.
pub struct Scratch {
    pub dir: DataDir,
}

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(ids::new_id("streams-cli-test"));
        Self { dir: DataDir::create(&path).unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.root()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.dir.run_dir());
        let _ = std::fs::remove_dir_all(self.dir.root());
    }
}
