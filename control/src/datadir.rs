//! The data directory: where each file of it lies, its lock, and how its secrets are written.
//!
//! ```text
//! DIR/                    0700  (0710 once an engine has become another user)
//!   streams.db            the database
//!   secret.key            0600  seals what the database must keep readable
//!   credentials.toml      0600  api, api_key
//!   streams.toml          optional configuration
//!   tls/cert.pem key.pem  the certificate served now; tls/next/ the one that follows
//!   log/control.log engine.log
//!   up.lock control.lock  held by `streams up` and by the control process
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::is_disk_full;
use crate::{Error, ids};

/// Bytes that must fit at a start: what the database's index and a first change of it take.
const PROBE_LEN: usize = 65_536;

/// A data directory that exists.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes the directory and its folders where they are missing, closes it to others (mode 0700), and proves that it can
    /// be written. One that is there and another user's is left as it is.
    pub fn create(root: &Path) -> Result<Self, Error> {
        let not_writable = |source| Error::DataDirNotWritable { path: root.to_owned(), source };
        refuse_of_another(root)?;
        for folder in [root.to_owned(), root.join("tls"), root.join("log")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(not_writable)?;
        }
        let root = root.canonicalize().map_err(not_writable)?;
        keep_to_owner(&root).map_err(not_writable)?;
        probe(&root).map_err(|source| match is_disk_full(&source) {
            true => Error::DiskFull {
                what: format!("the data directory {} has no room for {PROBE_LEN} bytes", root.display()),
            },
            false => not_writable(source),
        })?;
        Ok(Self { root })
    }

    /// The directory as it is, or would be; nothing is made.
    pub fn at(root: &Path) -> Self {
        Self { root: root.canonicalize().unwrap_or_else(|_| root.to_owned()) }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.root.join("streams.db")
    }

    /// The key that seals private keys inside the database.
    pub fn secret_key(&self) -> PathBuf {
        self.root.join("secret.key")
    }

    /// API address and API key of this installation.
    pub fn credentials(&self) -> PathBuf {
        self.root.join("credentials.toml")
    }

    /// The configuration that is read when none is named.
    pub fn config(&self) -> PathBuf {
        self.root.join("streams.toml")
    }

    /// Certificate and key.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// A log file by name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(name)
    }

    /// The folder in shared memory that belongs to this directory.
    pub fn run_dir(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        streams_contract::run_dir(&ids::sha256_hex(self.root.as_os_str().as_bytes()))
    }

    /// Holds the directory for `holder` until the answer is dropped; `name` is the lock file.
    pub fn lock(&self, name: &str, holder: &'static str) -> Result<DirLock, Error> {
        let path = self.root.join(name);
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path).map_err(
                |source| match fs::metadata(&path).map(|found| found.uid()) {
                    Ok(owner) if source.kind() == io::ErrorKind::PermissionDenied && owner != own_id() => {
                        Error::LockOfAnother { path: path.clone(), owner: user_name(owner) }
                    }
                    _ => Error::file("open", &path)(source),
                },
            )?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(Error::file("read", &path))?;
                return Err(Error::DataDirTaken { holder, pid: pid.trim().to_owned(), path: self.root.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(Error::File { action: "lock", path, source }),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(Error::file("write", &path))?;
        Ok(DirLock { _file: file })
    }
}

/// Root would leave files in another user's directory that its owner cannot open, and a user would fail half-way. A place that
/// all share, such as `/tmp` (root's, with the sticky bit), is no one user's.
fn refuse_of_another(root: &Path) -> Result<(), Error> {
    let Ok(found) = fs::metadata(root) else { return Ok(()) };
    let shared = found.uid() == 0 && found.mode() & 0o1000 != 0;
    if found.uid() == own_id() || shared {
        return Ok(());
    }
    Err(Error::DataDirOfAnother { path: root.to_owned(), owner: user_name(found.uid()) })
}

/// Writes and removes a file: an empty one would fit on a disk that is full.
fn probe(root: &Path) -> io::Result<()> {
    let path = root.join(format!(".probe.{}", std::process::id()));
    let written =
        File::create(&path).and_then(|mut file| file.write_all(&[0; PROBE_LEN]).and_then(|()| file.sync_data()));
    // What did not fit is not left behind either.
    let removed = fs::remove_file(&path);
    written.and(removed)
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A user's name as `sudo -u` takes it: of `/etc/passwd`, else `#` and the number.
fn user_name(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(id.to_string().as_str()));
    line.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{id}"), str::to_owned)
}

/// Takes others' access away from a directory that was there before. A place that all share, such as `/tmp` (its sticky bit
/// says so), stays open; what is secret in it has mode 0600 anyway. One that its group may enter and not read stays so too: an
/// engine that gave up root has had it opened for itself.
fn keep_to_owner(root: &Path) -> std::io::Result<()> {
    let mode = fs::metadata(root)?.permissions().mode();
    if mode & 0o067 == 0 || mode & 0o1000 != 0 {
        return Ok(());
    }
    fs::set_permissions(root, fs::Permissions::from_mode(mode & 0o700))
}

/// Held while a process owns a data directory; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Writes a file in one step (a reader sees the old one or the new one, whole), with mode 0600.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_with_mode(path, content, 0o600)
}

/// The same with mode 0640: the folder's group, which the engine is in when it is another user, reads it.
pub fn write_for_group(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_with_mode(path, content, 0o640)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let fresh = path.with_extension(format!("new.{}", std::process::id()));
    // One that a killed process of the same number left; what is put there instead is not followed.
    let removed = match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let written = removed
        .and_then(|()| OpenOptions::new().create_new(true).write(true).mode(mode).open(&fresh))
        .and_then(|mut file| {
            // The process's umask would take the group's right away again.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content).and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&fresh, path));
    written.map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_new_directory_is_private_and_a_second_lock_names_the_holder() {
        let scratch = Scratch::new();
        let dir = DataDir::create(&scratch.path().join("data")).unwrap();
        assert_eq!(fs::metadata(dir.root()).unwrap().permissions().mode() & 0o777, 0o700);
        let held = dir.lock("up.lock", "`streams up`").unwrap();
        let error = dir.lock("up.lock", "`streams up`").unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("--data"), "{error}");
        drop(held);
        dir.lock("up.lock", "`streams up`").unwrap();
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed_unless_all_share_it() {
        let scratch = Scratch::new();
        for (before, after) in [(0o755, 0o700), (0o750, 0o700), (0o700, 0o700), (0o710, 0o710), (0o1777, 0o1777)] {
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(before)).unwrap();
            DataDir::create(scratch.path()).unwrap();
            assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o7777, after, "{before:o}");
        }
    }

    #[test]
    fn a_directory_of_another_user_is_left_as_it_is() {
        if own_id() != 0 {
            eprintln!("NOT RUN: a_directory_of_another_user_is_left_as_it_is: needs root");
            return;
        }
        let scratch = Scratch::new();
        let theirs = scratch.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&theirs, Some(65_534), Some(65_534)).unwrap();
        let error = DataDir::create(&theirs).unwrap_err().to_string();
        assert!(error.contains("belongs to nobody") && error.contains("sudo -u nobody"), "{error}");
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0, "nothing of root's is in it");
        assert_eq!(fs::metadata(&theirs).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn the_units_make_the_folder_of_shared_memory_of_their_data_directory() {
        let folders = include_str!("../../deploy/tmpfiles.d/streams.conf");
        let run_dir = DataDir::at(Path::new("/var/lib/streams/data")).run_dir();
        let line = folders.lines().find(|line| line.contains(run_dir.to_str().unwrap())).unwrap_or_default();
        assert_eq!(line.split_whitespace().skip(2).collect::<Vec<_>>(), ["3770", "root", "streams"], "{run_dir:?}");
    }

    #[test]
    fn secrets_are_readable_by_the_owner_alone() {
        let scratch = Scratch::new();
        let path = scratch.path().join("secret");
        write_private(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = DataDir::create(Path::new("/proc/streams")).unwrap_err().to_string();
        assert!(error.contains("/proc/streams") && error.contains("--data"), "{error}");
    }
}
