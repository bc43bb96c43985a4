//! Handing folders to the engine's user.
//!
//! Root works here in folders that the user may have written to: nothing is followed that could be a link, and a file with a
//! second name is left alone.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fchmod, fchown, fstat, openat};
use rustix::io::Errno;

use crate::PrivilegesError;

/// Entries below `groups/` are files; more levels are none of ours.
const DEPTH_MAX: usize = 2;

/// The first folder above `data` that the user may not enter.
pub(crate) fn closed_above(data: &Path, uid: u32, gid: u32) -> Result<Option<PathBuf>, PrivilegesError> {
    let data = data.canonicalize().map_err(|source| PrivilegesError::file("find", data, source))?;
    let mut above: Vec<&Path> = data.ancestors().skip(1).collect();
    above.reverse();
    for folder in above {
        let found = fs::metadata(folder).map_err(|source| PrivilegesError::file("look at", folder, source))?;
        if !may_enter(&found, uid, gid) {
            return Ok(Some(folder.to_owned()));
        }
    }
    Ok(None)
}

fn may_enter(found: &fs::Metadata, uid: u32, gid: u32) -> bool {
    let needed = if found.uid() == uid {
        0o100
    } else if found.gid() == gid {
        0o010
    } else {
        0o001
    };
    found.mode() & needed != 0
}

/// See [`crate::Account::share`].
pub(crate) fn share(data: &Path, run_dir: &Path, uid: Uid, gid: Gid) -> Result<(), PrivilegesError> {
    let found = fs::metadata(data).map_err(|source| PrivilegesError::file("look at", data, source))?;
    if !may_enter(&found, uid.as_raw(), gid.as_raw()) {
        // A database of earlier days relied on a folder that nobody could enter.
        for name in ["streams.db", "streams.db-wal", "streams.db-shm"] {
            keep_to_owner(&data.join(name))?;
        }
        to_group(data, gid, 0o010)?;
    }
    let tls = data.join("tls");
    to_group(&tls, gid, 0o2050)?;
    for name in ["cert.pem", "key.pem"] {
        to_group(&tls.join(name), gid, 0o040)?;
    }
    let engine = data.join("engine");
    to_group(&engine, gid, 0o010)?;
    let groups = engine.join("groups");
    fs::create_dir_all(&groups).map_err(|source| PrivilegesError::file("make", &groups, source))?;
    give(&groups, uid, gid)?;
    to_group(run_dir, gid, 0o2050)?;
    let workspaces = fs::read_dir(run_dir).map_err(|source| PrivilegesError::file("list", run_dir, source))?;
    for workspace in workspaces.flatten() {
        to_group(&workspace.path(), gid, 0)?;
    }
    Ok(())
}

/// See [`crate::adopt_run_dir`].
pub(crate) fn adopt(run_dir: &Path, uid: Uid, gid: Gid) -> Result<(), PrivilegesError> {
    let failed = |errno: Errno| PrivilegesError::file("take over", run_dir, errno);
    let Some(folder) = open(CWD, run_dir).map_err(failed)? else { return Ok(()) };
    let found = fstat(&folder).map_err(failed)?;
    // Root's is one too that control and engine shared as two users of the group (deploy/): the engine writes there no more.
    let shared = found.st_uid == 0 && found.st_gid == gid.as_raw() && found.st_mode & 0o020 != 0;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory || (found.st_uid != uid.as_raw() && !shared) {
        return Ok(());
    }
    let group = rustix::fs::Gid::from_raw(gid.as_raw());
    fchown(&folder, Some(rustix::fs::Uid::ROOT), Some(group)).map_err(failed)?;
    fchmod(&folder, Mode::from_raw_mode(0o2750)).map_err(failed)
}

/// Gives a file or folder to a group and adds mode bits. What is a link, or not there, stays as it is: an operator's
/// certificate may be a link to another program's.
fn to_group(path: &Path, gid: Gid, add: u32) -> Result<(), PrivilegesError> {
    let failed = |errno: Errno| PrivilegesError::file("give the engine's group", path, errno);
    let Some(file) = open(CWD, path).map_err(failed)? else { return Ok(()) };
    let found = fstat(&file).map_err(failed)?;
    let group = rustix::fs::Gid::from_raw(gid.as_raw());
    if found.st_gid != gid.as_raw() {
        fchown(&file, None, Some(group)).map_err(failed)?;
    }
    let mode = found.st_mode & 0o7777;
    if mode | add != mode {
        fchmod(&file, Mode::from_raw_mode(mode | add)).map_err(failed)?;
    }
    Ok(())
}

fn keep_to_owner(path: &Path) -> Result<(), PrivilegesError> {
    let failed = |errno: Errno| PrivilegesError::file("close", path, errno);
    let Some(file) = open(CWD, path).map_err(failed)? else { return Ok(()) };
    let mode = fstat(&file).map_err(failed)?.st_mode & 0o700;
    fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)
}

/// Makes a folder and the files in it the user's own.
fn give(folder: &Path, uid: Uid, gid: Gid) -> Result<(), PrivilegesError> {
    let failed = |errno: Errno| PrivilegesError::file("give the engine's user", folder, errno);
    let Some(fd) = open(CWD, folder).map_err(failed)? else { return Ok(()) };
    give_opened(&fd, uid, gid, DEPTH_MAX).map_err(failed)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
        .map_err(|source| PrivilegesError::file("close", folder, source))
}

fn give_opened(fd: &OwnedFd, uid: Uid, gid: Gid, depth: usize) -> Result<(), Errno> {
    let found = fstat(fd)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::RegularFile && found.st_nlink > 1 {
        return Ok(());
    }
    if found.st_uid != uid.as_raw() || found.st_gid != gid.as_raw() {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid.as_raw()), rustix::fs::Gid::from_raw(gid.as_raw()));
        fchown(fd, Some(uid), Some(gid))?;
    }
    if kind != FileType::Directory || depth == 0 {
        return Ok(());
    }
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if let Some(below) = open(fd, name)? {
            give_opened(&below, uid, gid, depth - 1)?;
        }
    }
    Ok(())
}

/// A regular file or a folder; `None` for anything else.
fn open(folder: impl AsFd, path: impl rustix::path::Arg) -> Result<Option<OwnedFd>, Errno> {
    // NONBLOCK: a pipe must not hold up the start.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match openat(folder, path, flags, Mode::empty()) {
        Ok(opened) => opened,
        // A link, nothing, or a socket.
        Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let kind = FileType::from_raw_mode(fstat(&opened)?.st_mode);
    Ok(matches!(kind, FileType::RegularFile | FileType::Directory).then_some(opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_above_is_named() {
        let scratch = std::env::temp_dir().join(format!("streams-folders-{}", std::process::id()));
        let data = scratch.join("closed").join("data");
        fs::create_dir_all(&data).expect("made");
        let closed = scratch.join("closed");
        let open_to = |uid, gid| closed_above(&data, uid, gid).expect("looked at");
        fs::set_permissions(&closed, Permissions::from_mode(0o711)).expect("opened");
        assert_eq!(open_to(65_534, 65_534), None);
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("closed");
        assert_eq!(open_to(65_534, 65_534), Some(closed.canonicalize().expect("there")));
        let own = fs::metadata(&closed).expect("there");
        assert_eq!(open_to(own.uid(), own.gid()), None, "its owner may enter");
        let _ = fs::remove_dir_all(&scratch);
    }

    #[test]
    fn a_run_folder_of_the_engine_s_user_becomes_root_s_and_nobody_else_s_does() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT RUN: a_run_folder_of_the_engine_s_user_becomes_root_s_and_nobody_else_s_does: needs root");
            return;
        }
        let folder = std::env::temp_dir().join(format!("streams-adopt-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("made");
        let (nobody, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
        for (owner, after) in [(65_534, (0, 65_534)), (1, (1, 1)), (0, (0, 0))] {
            std::os::unix::fs::chown(&folder, Some(owner), Some(owner)).expect("root may");
            adopt(&folder, nobody, group).expect("looked at");
            let found = fs::metadata(&folder).expect("there");
            assert_eq!((found.uid(), found.gid()), after, "of {owner}");
        }
        let _ = fs::remove_dir(&folder);
        fs::create_dir(&folder).expect("made");
        std::os::unix::fs::chown(&folder, Some(0), Some(65_534)).expect("root may");
        fs::set_permissions(&folder, Permissions::from_mode(0o3770)).expect("shared");
        adopt(&folder, nobody, group).expect("looked at");
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o7777, 0o2750, "the user writes there no more");
        let _ = fs::remove_dir(&folder);
        adopt(&folder, nobody, group).expect("a folder that is not there is made later");
    }

    #[test]
    fn root_follows_no_link_that_an_earlier_engine_left() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT RUN: root_follows_no_link_that_an_earlier_engine_left: needs root");
            return;
        }
        let scratch = std::env::temp_dir().join(format!("streams-links-{}", std::process::id()));
        let groups = scratch.join("groups");
        fs::create_dir_all(&groups).expect("made");
        let precious = scratch.join("precious");
        for file in [&precious, &groups.join("lv_1")] {
            fs::write(file, "1").expect("written");
        }
        std::os::unix::fs::symlink(&precious, groups.join("lv_2")).expect("linked");
        fs::hard_link(&precious, groups.join("lv_3")).expect("linked");
        let nobody = Uid::from_raw(65_534);
        give(&groups, nobody, Gid::from_raw(65_534)).expect("given");
        let owner = |path: &Path| fs::symlink_metadata(path).expect("there").uid();
        assert_eq!(owner(&groups), 65_534);
        assert_eq!(owner(&groups.join("lv_1")), 65_534);
        assert_eq!(owner(&precious), 0);
        let _ = fs::remove_dir_all(&scratch);
    }
}
