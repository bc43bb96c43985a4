//! The last group id of each input, kept in the data directory.
//!
//! Group ids start at the wall clock in milliseconds, so they grow over restarts by themselves; this file is for the day that
//! the clock is set back.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Group ids advance by a few a second at most; a crash loses no more than this many, and the next life skips them.
const SAVE_EVERY: u64 = 16;

/// `DIR/engine/groups/<input>`: one decimal number each.
pub struct GroupStore {
    folder: PathBuf,
    saved: HashMap<String, u64>,
}

impl GroupStore {
    /// The folder is made when the first id is saved.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("engine").join("groups"), saved: HashMap::new() }
    }

    /// The last saved id of an input plus what a crash may have lost.
    pub(super) fn load(&self, input: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path(input)?).ok()?;
        Some(text.trim().parse::<u64>().ok()?.saturating_add(SAVE_EVERY))
    }

    /// Saves when it moved far enough. A failure is logged once a call and changes nothing for the broadcast.
    pub(super) fn save(&mut self, input: &str, last: Option<u64>) {
        let Some(last) = last else { return };
        if self.saved.get(input).is_some_and(|saved| last < saved.saturating_add(SAVE_EVERY)) {
            return;
        }
        let Some(path) = self.path(input) else { return };
        let fresh = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            fs::write(&fresh, format!("{last}\n"))?;
            fs::rename(&fresh, &path)
        };
        match write() {
            Ok(()) => drop(self.saved.insert(input.to_owned(), last)),
            Err(error) => tracing::warn!(input, %error, "the last group id could not be saved"),
        }
    }

    /// Ids come from control's database, yet a file name is made of one only when it is plainly an id.
    fn path(&self, input: &str) -> Option<PathBuf> {
        let plain = !input.is_empty() && input.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        plain.then(|| self.folder.join(input))
    }
}
