//! Where a command runs and a socket is opened: this process's own network, or a namespace of a testbed.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::HarnessError;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// As `ip netns` calls it; none: the one that this process runs in.
    name: Option<String>,
}

impl Namespace {
    /// The one that this process runs in.
    pub fn here() -> Self {
        Self { name: None }
    }

    /// One that `ip netns` lists.
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.to_owned()) }
    }

    /// A command that will run in it. The child is the program itself, so its process id is the program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(name) = &self.name else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }

    /// Moves this thread into it. Sockets that it opens from now on are there, whoever uses them later.
    ///
    /// # Errors
    /// [`HarnessError::File`]: there is no such namespace, or this is not root.
    pub fn enter(&self) -> Result<(), HarnessError> {
        let Some(name) = &self.name else { return Ok(()) };
        let path = format!("/run/netns/{name}");
        let place = File::open(&path).map_err(HarnessError::file("open", &path))?;
        let moved = move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network));
        moved.map_err(|error| HarnessError::file("enter", &path)(error.into()))
    }

    /// Does something on a thread in it. Sockets that it opens stay there.
    ///
    /// # Panics
    /// With the reason when it cannot be entered, and with whatever the work panics with.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        if self.name.is_none() {
            return work();
        }
        let thread = || {
            self.enter().unwrap_or_else(|error| panic!("{error}"));
            work()
        };
        std::thread::scope(|scope| match scope.spawn(thread).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}
