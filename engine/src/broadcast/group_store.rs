//! The last group id of each input, kept in the data directory.
//!
//! Group ids start at the wall clock in milliseconds, so they grow over restarts by themselves; these files are for the day that
//! the clock is set back. A file holds a bound that is ahead of every id used, so that it need not be written for each group, and
//! nothing is written here: the shard's host takes the work and has it done elsewhere, for a disk that stalls must not stop packets.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use streams_logs::Seldom;

/// How far a written bound is ahead of the id that it was written for. Ids are milliseconds and keep up with the clock, so after
/// a crash they are ahead of it by so much for a moment.
const AHEAD: u64 = 5_000;
/// A new bound is written when no more than this is left: time enough for a slow disk.
const LEFT_MIN: u64 = 2_500;
/// Files that may wait for the host. Beyond it a write is left out and tried with the next group.
const WAITING_MAX: usize = 1_024;

/// `DIR/engine/groups/<input>`: one decimal number each.
pub struct GroupStore {
    folder: PathBuf,
    bounds: HashMap<String, u64>,
    /// Inputs that an earlier engine saved.
    saved_before: Vec<String>,
    waiting: Vec<FileWork>,
}

/// What is to be done with one file. It may wait for a disk, so a shard leaves it to its host.
#[derive(Debug)]
pub enum FileWork {
    /// A bound and its file.
    Save(PathBuf, u64),
    /// The file of an input that was deleted.
    Forget(PathBuf),
}

impl GroupStore {
    /// The folder is made when the first bound is saved. `saved_before` is what
    /// [`GroupStore::saved`] found, for the one shard that removes what is left over.
    pub fn new(data_dir: &Path, saved_before: Vec<String>) -> Self {
        Self { folder: folder(data_dir), bounds: HashMap::new(), saved_before, waiting: Vec::new() }
    }

    /// Inputs of which something is saved, or was about to be. It lists a folder, which a confined engine may not.
    pub fn saved(data_dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder(data_dir)).into_iter().flatten().flatten();
        let input = |path: PathBuf| path.file_stem()?.to_str().map(str::to_owned);
        entries.filter_map(|entry| input(entry.path())).collect()
    }

    /// A number that no group id of the input was above.
    pub(super) fn load(&self, input: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path(input)?).ok()?;
        text.trim().parse().ok()
    }

    /// Has a new bound written when `last` comes near the written one.
    pub(super) fn save(&mut self, input: &str, last: Option<u64>) {
        let Some(last) = last else { return };
        if self.bounds.get(input).is_some_and(|bound| last.saturating_add(LEFT_MIN) < *bound) {
            return;
        }
        let Some(path) = self.path(input) else { return };
        let bound = last.saturating_add(AHEAD);
        if self.leave(FileWork::Save(path, bound)) {
            self.bounds.insert(input.to_owned(), bound);
        }
    }

    /// Has the file of a deleted input removed; its id is never given again. What finds no room in the queue goes at the next start.
    pub(super) fn forget(&mut self, input: &str) {
        self.bounds.remove(input);
        if let Some(path) = self.path(input) {
            self.leave(FileWork::Forget(path));
        }
    }

    /// Has what an earlier engine saved of inputs that are not `known` removed: they were deleted while none ran.
    pub(super) fn forget_all_but(&mut self, known: &HashSet<String>) {
        for input in std::mem::take(&mut self.saved_before) {
            if !known.contains(&input) {
                self.forget(&input);
            }
        }
    }

    /// What waits, in its order, for the host to carry out.
    pub(super) fn take_work(&mut self) -> Vec<FileWork> {
        std::mem::take(&mut self.waiting)
    }

    fn leave(&mut self, work: FileWork) -> bool {
        let room = self.waiting.len() < WAITING_MAX;
        if room {
            self.waiting.push(work);
        }
        room
    }

    /// Ids come from control's database, yet a file name is made of one only when it is plainly an id.
    fn path(&self, input: &str) -> Option<PathBuf> {
        let plain = !input.is_empty() && input.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        plain.then(|| self.folder.join(input))
    }
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("engine").join("groups")
}

impl FileWork {
    /// Does it, on a thread that may wait.
    pub fn carry_out(self) {
        let (done, path, what) = match self {
            Self::Save(path, bound) => (save(&path, bound), path, "the last group id of an input could not be saved"),
            Self::Forget(path) => (
                remove(&path).and(remove(&path.with_extension("new"))),
                path,
                "the last group id of a deleted input could not be removed",
            ),
        };
        static FAILED: Seldom = Seldom::new();
        if let Err(error) = done
            && let Some(left_out) = FAILED.pass(Instant::now())
        {
            tracing::warn!(file = %path.display(), %error, left_out, "{what}");
        }
    }
}

fn save(path: &Path, bound: u64) -> io::Result<()> {
    let fresh = path.with_extension("new");
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&fresh, format!("{bound}\n")))
        .and_then(|()| fs::rename(&fresh, path))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the host does.
    fn carry_out(store: &mut GroupStore) {
        store.take_work().into_iter().for_each(FileWork::carry_out);
    }

    #[test]
    fn a_bound_is_ahead_of_every_id_and_written_now_and_then() {
        let data = std::env::temp_dir().join(format!("streams-groups-{}", std::process::id()));
        let first = 1_800_000_000_000;
        let mut store = GroupStore::new(&data, Vec::new());
        assert_eq!(store.load("lv_1"), None);
        for group in 0..100 {
            let last = first + group * 100;
            store.save("lv_1", Some(last));
            let bound = store.bounds["lv_1"];
            assert!((last + LEFT_MIN..=last + AHEAD).contains(&bound), "{last} {bound}");
        }
        store.save("../lv_2", Some(first));
        carry_out(&mut store);
        let loaded = GroupStore::new(&data, Vec::new()).load("lv_1");
        assert!(loaded.is_some_and(|bound| bound >= first + 9_900 + LEFT_MIN), "{loaded:?}");
        assert_eq!(fs::read_dir(data.join("engine/groups")).map(Iterator::count).ok(), Some(1));
        let _ = fs::remove_dir_all(&data);
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded_and_left_out_bounds_are_tried_again() {
        let mut store = GroupStore::new(Path::new("/nowhere"), Vec::new());
        for input in 0..WAITING_MAX + 5 {
            store.save(&format!("lv_{input}"), Some(1));
        }
        assert_eq!(store.take_work().len(), WAITING_MAX);
        let last = format!("lv_{}", WAITING_MAX + 4);
        store.save(&last, Some(2));
        assert!(matches!(store.take_work().as_slice(), [FileWork::Save(path, _)] if path.ends_with(&last)));
    }

    #[test]
    fn the_file_of_a_deleted_input_goes_and_those_of_others_stay() {
        let data = std::env::temp_dir().join(format!("streams-groups-deleted-{}", std::process::id()));
        let names = || {
            let mut names = GroupStore::saved(&data);
            names.sort();
            names
        };
        assert_eq!(names(), Vec::<String>::new(), "nothing was ever saved");
        let mut store = GroupStore::new(&data, Vec::new());
        for input in ["lv_1", "lv_2", "lv_3"] {
            store.save(input, Some(1_800_000_000_000));
        }
        store.forget("lv_2");
        store.forget("../keys");
        carry_out(&mut store);
        assert_eq!(names(), ["lv_1", "lv_3"]);
        // Deleted while no engine ran.
        fs::write(folder(&data).join("lv_1.new"), "").unwrap();
        let mut store = GroupStore::new(&data, names());
        store.forget_all_but(&HashSet::from(["lv_3".to_owned()]));
        carry_out(&mut store);
        assert_eq!(names(), ["lv_3"]);
        let _ = fs::remove_dir_all(&data);
    }
}
