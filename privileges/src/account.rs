//! The user that an engine becomes once it is set up.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

use crate::capabilities::{drop_capabilities, empty_bounding_set, empty_sets};
use crate::{PrivilegesError, folders};

/// The user that an engine becomes when none is configured.
const USER: &str = "streams";

/// The id of the user that `[engine] user` names for an engine that root starts. `None`: this process is not root, or there is no
/// such user.
pub fn configured_user(wish: &str) -> Result<Option<u32>, PrivilegesError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    Ok(look_up(wish)?.map(|user| user.uid.as_raw()))
}

/// Makes a folder of shared memory that belongs to the engine's user root's, with the user's group: `streams configure init` and
/// the units make it for that user, and control, which has no capability, could not write in it as root. A folder of anybody
/// else stays as it is. Does nothing unless the process is root.
pub fn adopt_run_dir(wish: &str, run_dir: &Path) -> Result<(), PrivilegesError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    match look_up(wish)? {
        Some(user) if !user.uid.is_root() => folders::adopt(run_dir, user.uid, user.gid),
        _ => Ok(()),
    }
}

fn look_up(wish: &str) -> Result<Option<User>, PrivilegesError> {
    let name = if wish.is_empty() { USER } else { wish };
    User::from_name(name).map_err(|errno| PrivilegesError::system("look up the engine's user", errno))
}

/// Who a process is after [`Account::enter`].
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// Whether this process is root and can hand files and itself over.
    from_root: bool,
    stay: Option<Stay>,
}

/// Why root stays root, without capabilities.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stay {
    /// `user = "root"`.
    #[error("it is configured so")]
    Configured,
    /// No user is configured, and the usual one does not exist.
    #[error("there is no user `streams` (`streams configure init` and deploy/ make one)")]
    NoUser,
    /// No user is configured, and the usual one cannot come to the data directory.
    #[error("user `streams` cannot enter {}, which leads to the data directory", .0.display())]
    Unreachable(PathBuf),
}

impl Account {
    /// Who the engine of `data` becomes. `wish` is `[engine] user`; a process that is not root stays who it is.
    pub fn choose(wish: &str, data: &Path) -> Result<Self, PrivilegesError> {
        if !geteuid().is_root() {
            let name = User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
            return Ok(Self { name, uid: geteuid(), gid: nix::unistd::getegid(), from_root: false, stay: None });
        }
        let Some(user) = look_up(wish)? else {
            if wish.is_empty() {
                return Ok(Self::root(Stay::NoUser));
            }
            return Err(PrivilegesError::UnknownUser { user: wish.to_owned() });
        };
        if user.uid.is_root() {
            return Ok(Self::root(Stay::Configured));
        }
        match folders::closed_above(data, user.uid.as_raw(), user.gid.as_raw())? {
            None => Ok(Self { name: user.name, uid: user.uid, gid: user.gid, from_root: true, stay: None }),
            Some(path) if wish.is_empty() => Ok(Self::root(Stay::Unreachable(path))),
            Some(path) => Err(PrivilegesError::Unreachable { user: user.name, path }),
        }
    }

    fn root(why: Stay) -> Self {
        Self { name: "root".into(), uid: Uid::from_raw(0), gid: Gid::from_raw(0), from_root: true, stay: Some(why) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why a process that was started as root keeps its user.
    pub fn stay(&self) -> Option<&Stay> {
        self.stay.as_ref()
    }

    /// Lets the account read and write, without any right, what an engine needs while it runs, and nothing else:
    ///
    /// ```text
    /// DIR/                0710  may be entered by the account's group
    ///   tls/              2750  files that control puts there later belong to the group
    ///     cert.pem key.pem 0640
    ///   engine/           0710
    ///     groups/         0700  the account's own
    /// <run_dir>/          2750  workspaces of later control processes belong to the group
    /// ```
    ///
    /// Does nothing unless the process is root.
    pub fn share(&self, data: &Path, run_dir: &Path) -> Result<(), PrivilegesError> {
        if !self.from_root {
            return Ok(());
        }
        folders::share(data, run_dir, self.uid, self.gid)
    }

    /// Becomes the account, without any capability and with `no_new_privs`. The process must have one thread only.
    pub fn enter(&self) -> Result<(), PrivilegesError> {
        if !self.from_root || self.uid.is_root() {
            return drop_capabilities();
        }
        let failed = |errno| PrivilegesError::system("become the engine's user", errno);
        empty_bounding_set()?;
        setgroups(&[self.gid]).map_err(failed)?;
        setresgid(self.gid, self.gid, self.gid).map_err(failed)?;
        setresuid(self.uid, self.uid, self.uid).map_err(failed)?;
        empty_sets()
    }

    /// Tells, after [`Account::enter`], whether a file can be read.
    pub fn check_readable(&self, path: &Path) -> Result<(), PrivilegesError> {
        File::open(path).map(drop).map_err(|source| PrivilegesError::Unreadable {
            user: self.name.clone(),
            path: path.to_owned(),
            source,
        })
    }
}
