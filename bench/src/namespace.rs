//! Where a command runs and a socket is opened: this process's own network, or a namespace of a testbed.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::BenchError;

/// The script that makes a testbed.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/testbed");

/// A command that will run in a namespace that `ip netns` lists, or in this process's. The child is the program itself, so its
/// process id is the program's.
pub fn command(namespace: Option<&str>, program: &Path) -> Command {
    let Some(name) = namespace else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name]).arg(program);
    command
}

/// Moves this thread into a namespace. Sockets that it opens from now on are there, whoever uses them later.
///
/// # Errors
/// [`BenchError::File`]: there is no such namespace, or this is not root.
pub fn enter(name: &str) -> Result<(), BenchError> {
    let path = PathBuf::from(format!("/run/netns/{name}"));
    let place = File::open(&path).map_err(BenchError::file("open", &path))?;
    let moved = move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network));
    moved.map_err(|error| BenchError::file("enter", &path)(error.into()))
}

/// Two namespaces with a veth pair between them, by `scripts/testbed`; removed when it drops.
#[derive(Debug)]
pub struct Testbed {
    name: String,
}

impl Testbed {
    /// The engine's address.
    pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

    /// Makes one with a queue for the one shard.
    ///
    /// # Errors
    /// [`BenchError::Command`] when it cannot be made here.
    pub fn up() -> Result<Self, BenchError> {
        let name = format!("b{}", std::process::id());
        let failed = |reason| BenchError::Command { command: "scripts/testbed up".to_owned(), reason };
        // It removes what a failure leaves.
        let up = script("up", &name).map_err(|error| failed(error.to_string()))?;
        if !up.status.success() {
            return Err(failed(String::from_utf8_lossy(&up.stderr).trim().to_owned()));
        }
        Ok(Self { name })
    }

    /// The namespace of the engine.
    pub fn pop(&self) -> String {
        format!("{}-pop", self.name)
    }

    /// The namespace of the clients.
    pub fn net(&self) -> String {
        format!("{}-net", self.name)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let down = script("down", &self.name);
        if !down.as_ref().is_ok_and(|down| down.status.success()) {
            eprintln!("streams-bench: testbed {} is not removed; scripts/testbed down --name {0} does it", self.name);
        }
    }
}

fn script(what: &str, name: &str) -> std::io::Result<Output> {
    Command::new(SCRIPT).args([what, "--name", name]).stdin(Stdio::null()).output()
}
