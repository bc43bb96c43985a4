//! What `init` changed, so that `fini` can put it back.
//!
//! ```text
//! init:  note the value before ──▶ change ──▶ note the value after        (each note: one whole new file, renamed)
//! fini:  newest note first: still the value after? ──▶ value before ──▶ forget the note
//! ```
//!
//! A note is on the disk before its change is made, so a process killed anywhere leaves nothing that `fini` does not know.
//! A note without a value after is such a change: begun, and perhaps made.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::knob::Knob;
use super::root_folder::RootFolder;
use super::system::System;
use crate::Error;

/// Where the notes lie when no other file is named: a folder of root's, for `fini` does as root what they say. The user of the
/// engine has `/var/lib/streams/data` to itself, and nothing that root believes may lie there.
pub const DEFAULT_PATH: &str = "/var/lib/streams-configure/configure.json";

/// Version of the file's shape.
const VERSION: u32 = 1;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The stage that made it.
    pub stage: String,
    /// What was changed.
    pub knob: Knob,
    /// The value before; absent when the thing was not there.
    pub before: Option<String>,
    /// The value after, as it was read back; absent while the change is being made.
    pub after: Option<String>,
    /// Which start of the machine it was made in: a restart undoes what is not in a file.
    pub boot: String,
    /// Which network namespace it was made in.
    pub network: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    notes: Vec<Note>,
}

/// The notes, and the lock that keeps a second `init` or `fini` away.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    folder: RootFolder,
    name: String,
    notes: Vec<Note>,
    boot: String,
    network: String,
    _lock: File,
}

impl Journal {
    /// Opens or makes the file of notes, in a folder where only root can have put it. A file that this build cannot read is an
    /// error: it must not be overwritten.
    pub fn open(system: &System, path: &Path) -> Result<Self, Error> {
        let unusable = |reason: &str| Error::StateFile { path: path.to_owned(), reason: reason.to_owned() };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| unusable("it is no file's name"))?;
        let folder = RootFolder::open_or_make(path.parent().filter(|folder| *folder != "").unwrap_or(Path::new(".")))?;
        let lock = lock(&folder, path)?;
        let notes = folder.read(name)?.map_or(Ok(Vec::new()), |text| parse(path, &text))?;
        let boot = system.text("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let network = system.link_name("/proc/self/ns/net").unwrap_or_default();
        Ok(Self { path: path.to_owned(), folder, name: name.to_owned(), notes, boot, network, _lock: lock })
    }

    /// Notes that a change is about to be made. The value before the first change of a knob stays.
    pub fn begin(&mut self, stage: &str, knob: &Knob, before: Option<String>) -> Result<(), Error> {
        let (boot, network) = (self.boot.clone(), self.network.clone());
        match self.find(knob) {
            Some(note) => note.after = None,
            None => {
                let (stage, knob) = (stage.to_owned(), knob.clone());
                self.notes.retain(|note| note.knob != knob || !note.is_undone_by(&boot));
                self.notes.push(Note { stage, knob, before, after: None, boot, network });
            }
        }
        self.save()
    }

    /// Notes the value that a change led to. A change that led back to the first value is forgotten.
    pub fn done(&mut self, knob: &Knob, after: Option<String>) -> Result<(), Error> {
        let Some(note) = self.find(knob) else { return Ok(()) };
        if note.before == after {
            let note = note.clone();
            return self.forget(&note);
        }
        note.after = after;
        self.save()
    }

    /// The notes, newest first.
    pub fn newest_first(&self) -> Vec<Note> {
        self.notes.iter().rev().cloned().collect()
    }

    /// Whether a restart of the machine since has undone a change.
    pub fn is_undone(&self, note: &Note) -> bool {
        note.is_undone_by(&self.boot)
    }

    /// Whether a change was made in another network namespace, where alone its device is.
    pub fn is_elsewhere(&self, note: &Note) -> bool {
        note.knob.interface().is_some() && note.network != self.network
    }

    /// Forgets a change.
    pub fn forget(&mut self, gone: &Note) -> Result<(), Error> {
        self.notes.retain(|note| note != gone);
        if !self.notes.is_empty() {
            return self.save();
        }
        self.folder.remove(&self.name)
    }

    /// The note of a knob that still counts.
    fn find(&mut self, knob: &Knob) -> Option<&mut Note> {
        let (boot, network) = (self.boot.clone(), self.network.clone());
        let here = move |note: &&mut Note| note.knob.interface().is_none() || note.network == network;
        self.notes.iter_mut().filter(here).find(|note| note.knob == *knob && !note.is_undone_by(&boot))
    }

    fn save(&self) -> Result<(), Error> {
        let document = Document { version: VERSION, notes: self.notes.clone() };
        let text = serde_json::to_vec_pretty(&document).map_err(|error| self.unusable(error.to_string()))?;
        self.folder.write(&self.name, &text)
    }

    fn unusable(&self, reason: String) -> Error {
        Error::StateFile { path: self.path.clone(), reason }
    }
}

impl Note {
    fn is_undone_by(&self, boot: &str) -> bool {
        self.knob.volatile() && self.boot != boot
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Note>, Error> {
    let unusable = |reason: String| Error::StateFile { path: path.to_owned(), reason };
    let document: Document = serde_json::from_slice(text).map_err(|error| unusable(error.to_string()))?;
    match document.version {
        VERSION => Ok(document.notes),
        other => Err(unusable(format!("it has version {other}, this build reads version {VERSION}"))),
    }
}

/// `configure.lock` beside `configure.json`.
fn lock(folder: &RootFolder, notes: &Path) -> Result<File, Error> {
    let path = notes.with_extension("lock");
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("configure.lock");
    let file = folder.lock_file(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::StateFile { path, reason: "another `streams configure` holds it".to_owned() })
        }
        Err(TryLockError::Error(source)) => Err(Error::file("lock", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::configure::testing::Machine;

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn the_first_value_is_kept_and_the_file_is_private() {
        let machine = Machine::new();
        let path = machine.state();
        let knob = Knob::value("/proc/sys/net/core/rmem_max");
        let mut journal = Journal::open(&machine.system(), &path).unwrap();
        journal.begin("sysctls", &knob, text("1")).unwrap();
        journal.done(&knob, text("2")).unwrap();
        journal.begin("sysctls", &knob, text("2")).unwrap();
        journal.done(&knob, text("3")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(journal);
        let mut journal = Journal::open(&machine.system(), &path).unwrap();
        let notes = journal.newest_first();
        assert_eq!((notes.len(), &notes[0].before, &notes[0].after), (1, &text("1"), &text("3")));
        journal.forget(&notes[0]).unwrap();
        assert!(!path.exists(), "no notes, no file");
    }

    #[test]
    fn a_restart_of_the_machine_undoes_what_is_in_no_file() {
        let machine = Machine::new();
        machine.file("/proc/sys/kernel/random/boot_id", "first");
        let (value, file) = (Knob::value("/proc/sys/vm/nr_hugepages"), Knob::Config { path: "/etc/x".into() });
        let mut journal = Journal::open(&machine.system(), &machine.state()).unwrap();
        journal.begin("hugepages", &value, text("0")).unwrap();
        journal.begin("limits", &file, None).unwrap();
        drop(journal);
        machine.file("/proc/sys/kernel/random/boot_id", "second");
        let mut journal = Journal::open(&machine.system(), &machine.state()).unwrap();
        let undone: Vec<bool> = journal.newest_first().iter().map(|note| journal.is_undone(note)).collect();
        assert_eq!(undone, [false, true]);
        // The same knob again after the restart has a new first value.
        journal.begin("hugepages", &value, text("7")).unwrap();
        let befores: Vec<_> = journal.newest_first().into_iter().map(|note| note.before).collect();
        assert_eq!(befores, [text("7"), None]);
    }

    #[test]
    fn a_file_that_others_may_write_is_not_believed() {
        let machine = Machine::new();
        machine.file("/var/lib/streams-configure/configure.json", r#"{"version":1,"notes":[]}"#);
        for (mode, believed) in [(0o666, false), (0o620, false), (0o600, true)] {
            fs::set_permissions(machine.state(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Journal::open(&machine.system(), &machine.state()).is_ok(), believed, "{mode:o}");
        }
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let machine = Machine::new();
        let precious = machine.root().join("precious");
        let lock = machine.state().with_extension("lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        symlink(&precious, &lock).unwrap();
        let error = Journal::open(&machine.system(), &machine.state()).unwrap_err().to_string();
        assert!(error.contains("configure.lock") && error.contains("link"), "{error}");
        assert!(!precious.exists(), "root made nothing behind it");
    }

    #[test]
    fn a_second_run_at_the_same_time_and_a_broken_file_are_refused() {
        let machine = Machine::new();
        let held = Journal::open(&machine.system(), &machine.state()).unwrap();
        let error = Journal::open(&machine.system(), &machine.state()).unwrap_err().to_string();
        assert!(error.contains("another `streams configure`"), "{error}");
        drop(held);
        for broken in ["", "{", r#"{"version":9,"notes":[]}"#] {
            fs::write(machine.state(), broken).unwrap();
            fs::set_permissions(machine.state(), fs::Permissions::from_mode(0o600)).unwrap();
            let error = Journal::open(&machine.system(), &machine.state()).unwrap_err().to_string();
            assert!(error.contains("configure.json"), "{error}");
            assert_eq!(fs::read_to_string(machine.state()).unwrap(), broken, "it is left as it was");
        }
    }
}
