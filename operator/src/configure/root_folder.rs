//! A folder whose files root may believe: nobody else can have put, exchanged or linked anything in it.
//!
//! ```text
//! /var/lib/streams-configure      each part is opened inside the one before it, no link is followed
//! └ root's or ours, and nobody else may write in it (above it: or only in what is his own, like /tmp)
//! ```
//!
//! Files are opened once, without following a link, and it is the open file that is checked: a path that is checked and used
//! afterwards may lead elsewhere by then.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::Error;

/// The largest file that is read. Notes have some 200 bytes a knob, and a machine a few hundred knobs.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Others may write.
const OTHERS_WRITE: u32 = 0o022;
/// Whoever may write in such a folder can rename and remove only what is his own.
const STICKY: u32 = 0o1000;

/// An open folder that only root and this process's user can have changed.
#[derive(Debug)]
pub struct RootFolder {
    path: PathBuf,
    fd: OwnedFd,
}

impl RootFolder {
    /// Opens the folder; what is missing of its path is made, mode 0700.
    pub fn open_or_make(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(Error::file("find", path))?;
        let failed = |at: &Path, errno: Errno| Error::file("open", at)(errno.into());
        let mut at = PathBuf::from("/");
        let mut fd = open("/", folder_flags(), Mode::empty()).map_err(|errno| failed(&at, errno))?;
        let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
        for name in names {
            check(&fd, &at, &path)?;
            at.push(name);
            let below = match openat(&fd, name.as_os_str(), folder_flags(), Mode::empty()) {
                Err(Errno::NOENT) => mkdirat(&fd, name.as_os_str(), Mode::RWXU)
                    .and_then(|()| openat(&fd, name.as_os_str(), folder_flags(), Mode::empty())),
                opened => opened,
            };
            fd = below.map_err(|errno| match errno {
                Errno::NOTDIR | Errno::LOOP => refused(&at, "it is a link or no folder"),
                errno => failed(&at, errno),
            })?;
        }
        check(&fd, &at, &path)?;
        Ok(Self { path, fd })
    }

    /// A file's content; `None` when there is none of that name. A link, and a file that others can have written, is refused.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(mut file) = self.open_file(name, flags)? else { return Ok(None) };
        let path = self.path.join(name);
        let mut content = Vec::new();
        (&mut file).take(FILE_LEN_MAX + 1).read_to_end(&mut content).map_err(Error::file("read", &path))?;
        if content.len() as u64 > FILE_LEN_MAX {
            return Err(refused(&path, "it is larger than 1 MiB"));
        }
        Ok(Some(content))
    }

    /// A file that is there to be locked, made when absent.
    pub fn lock_file(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let gone = || Error::file("open", self.path.join(name))(io::ErrorKind::NotFound.into());
        self.open_file(name, flags)?.ok_or_else(gone)
    }

    /// Writes a file, mode 0600, in one step: a reader sees the old one or the new one, whole.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let fresh = format!(".{name}.new.{}", std::process::id());
        // Left by a process of the same number that was killed.
        self.remove(&fresh)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = openat(&self.fd, fresh.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| {
                let mut file = File::from(file);
                file.write_all(content).and_then(|()| file.sync_all())
            })
            .and_then(|()| Ok(renameat(&self.fd, fresh.as_str(), &self.fd, name)?));
        written.map_err(Error::file("write", self.path.join(name)))
    }

    /// Removes a file; one that is not there is as it should be.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::file("remove", self.path.join(name))(errno.into())),
        }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<File>, Error> {
        let path = self.path.join(name);
        let opened = match openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(refused(&path, "it is a link")),
            Err(errno) => return Err(Error::file("open", path)(errno.into())),
        };
        let found = fstat(&opened).map_err(|errno| Error::file("look at", &path)(errno.into()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink > 1 {
            return Err(refused(&path, "it is no file of its own"));
        }
        if !is_trusted(&found) || found.st_mode & OTHERS_WRITE != 0 {
            return Err(refused(
                &path,
                "others than root may have written it; remove it, or make it root's with mode 0600",
            ));
        }
        Ok(Some(File::from(opened)))
    }
}

/// To look at and to open things in, not to list.
fn folder_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Refuses a part of `wanted` in which others could exchange things.
fn check(fd: &OwnedFd, at: &Path, wanted: &Path) -> Result<(), Error> {
    let found = fstat(fd).map_err(|errno| Error::file("look at", at)(errno.into()))?;
    let shared = at != wanted && found.st_mode & STICKY != 0;
    if is_trusted(&found) && (found.st_mode & OTHERS_WRITE == 0 || shared) {
        return Ok(());
    }
    Err(refused(at, "others than root may write in this folder"))
}

/// Root's, or of the user who runs this.
fn is_trusted(found: &Stat) -> bool {
    found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw()
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::StateFile { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::scratch::Scratch;

    fn opened(path: &Path) -> RootFolder {
        RootFolder::open_or_make(path).unwrap()
    }

    fn why(refused: Result<impl std::fmt::Debug, Error>) -> String {
        refused.unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_its_files_as_well() {
        let scratch = Scratch::new();
        let path = scratch.path().join("a/b");
        let folder = opened(&path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(folder.read("notes").unwrap(), None);
        folder.write("notes", b"first").unwrap();
        folder.write("notes", b"second").unwrap();
        assert_eq!(folder.read("notes").unwrap().as_deref(), Some(&b"second"[..]));
        assert_eq!(fs::metadata(path.join("notes")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left beside it");
        folder.remove("notes").unwrap();
        folder.remove("notes").unwrap();
    }

    #[test]
    fn no_link_is_followed_in_the_path_or_to_a_file_nor_by_a_temporary_file() {
        let scratch = Scratch::new();
        let (precious, folder) = (scratch.path().join("precious"), scratch.path().join("folder"));
        fs::create_dir(&folder).unwrap();
        fs::write(&precious, "keep me").unwrap();
        for name in ["lock".to_owned(), "notes".to_owned(), format!(".notes.new.{}", std::process::id())] {
            symlink(&precious, folder.join(name)).unwrap();
        }
        symlink(scratch.path().join("absent"), folder.join("dangling")).unwrap();
        let opened = opened(&folder);
        assert!(why(opened.lock_file("lock")).contains("it is a link"));
        assert!(why(opened.lock_file("dangling")).contains("it is a link"));
        assert!(!scratch.path().join("absent").exists(), "nothing is made behind a link");
        assert!(why(opened.read("notes")).contains("it is a link"));
        opened.write("notes", b"{}").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "keep me");
        fs::hard_link(&precious, folder.join("second")).unwrap();
        assert!(why(opened.read("second")).contains("no file of its own"));
        symlink(&folder, scratch.path().join("way")).unwrap();
        assert!(why(RootFolder::open_or_make(&scratch.path().join("way"))).contains("link"));
        assert!(why(RootFolder::open_or_make(&scratch.path().join("way/below"))).contains("link"));
    }

    #[test]
    fn a_folder_in_which_others_may_write_is_refused_and_a_shared_one_above_it_is_not() {
        let scratch = Scratch::new();
        let path = scratch.path().join("above/folder");
        fs::create_dir_all(&path).unwrap();
        let above = path.parent().unwrap();
        for (mode, fine) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true)] {
            fs::set_permissions(above, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(RootFolder::open_or_make(&path).is_ok(), fine, "{mode:o} above");
        }
        for (mode, fine) in [(0o755, true), (0o775, false), (0o1777, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(RootFolder::open_or_make(&path).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_or_file_of_another_user_is_not_believed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT RUN: a_folder_or_file_of_another_user_is_not_believed: needs root");
            return;
        }
        let scratch = Scratch::new();
        let path = scratch.path().join("streams/folder");
        let folder = opened(&path);
        folder.write("notes", b"{}").unwrap();
        chown(path.join("notes"), Some(65_534), None).unwrap();
        assert!(why(folder.read("notes")).contains("others than root"));
        for theirs in [&path, path.parent().unwrap()] {
            chown(theirs, Some(65_534), None).unwrap();
            let said = why(RootFolder::open_or_make(&path));
            assert!(said.contains(theirs.to_str().unwrap()) && said.contains("others than root"), "{said}");
            chown(theirs, Some(0), None).unwrap();
        }
    }
}
