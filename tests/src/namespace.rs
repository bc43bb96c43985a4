//! Where a command runs and a socket is opened: the machine's own network, or a namespace of a testbed.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

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

    /// Does something on a thread in it. Sockets that it opens stay there, whoever uses them later.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(name) = &self.name else { return work() };
        let place = File::open(format!("/run/netns/{name}")).expect("the namespace is there");
        let thread = move || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            work()
        };
        std::thread::scope(|scope| scope.spawn(thread).join().expect("the work in the namespace is done"))
    }
}
