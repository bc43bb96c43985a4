//! A network between an engine and its clients: `scripts/testbed` with a name that nobody else has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::programs::build_folder;
use crate::{HarnessError, Namespace, repo};

/// Two namespaces with a veth pair between them; removed with everything that runs in them when it drops.
#[derive(Debug)]
pub struct Testbed {
    name: String,
    /// Where the engine belongs; its interface is `pop0`.
    pub pop: Namespace,
    /// Where the clients belong; their interface is `net0`.
    pub net: Namespace,
}

impl Testbed {
    /// The engine's addresses.
    pub const POP_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    /// The same in IPv6.
    pub const POP_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1));

    /// Whether one can be made here.
    ///
    /// # Errors
    /// [`HarnessError::Command`], which says what is missing.
    pub fn check() -> Result<(), HarnessError> {
        script(&["check"]).map(drop)
    }

    /// Makes a testbed with so many queues and the options of a bad line, such as `["--loss", "1%"]`; none of these is a good
    /// line.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when it cannot be made.
    pub fn up(queues: usize, line: &[&str]) -> Result<Self, HarnessError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("h{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let queues = queues.to_string();
        let of = |side: &str| Namespace::named(&format!("{name}-{side}"));
        // Made before it is up, so that what a failure leaves is removed as well.
        let testbed = Self { pop: of("pop"), net: of("net"), name };
        script(&[&["up", "--name", &testbed.name, "--queues", &queues], line].concat())?;
        Ok(testbed)
    }

    /// Its name for `scripts/testbed --name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a bad line did so far.
    ///
    /// # Errors
    /// [`HarnessError::Command`] when that cannot be read.
    pub fn counters(&self) -> Result<Value, HarnessError> {
        let output = script(&["counters", "--name", &self.name])?;
        let failed = HarnessError::command("scripts/testbed counters");
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if let Err(error) = script(&["down", "--name", &self.name]) {
            eprintln!("testbed {} is not removed ({error}); scripts/testbed down --name {0} does it", self.name);
        }
    }
}

/// Runs `scripts/testbed`, which must succeed.
fn script(arguments: &[&str]) -> Result<Output, HarnessError> {
    let shown = format!("scripts/testbed {}", arguments.join(" "));
    // The program of a bad line; the script says when it is needed and not there.
    let impairer = build_folder()?.join("streams-impair");
    let output = run(&repo().join("scripts/testbed"), arguments, &impairer).map_err(HarnessError::command(&shown))?;
    if output.status.success() {
        return Ok(output);
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(HarnessError::Command { command: shown, reason })
}

fn run(script: &Path, arguments: &[&str], impairer: &Path) -> std::io::Result<Output> {
    Command::new(script).args(arguments).env("STREAMS_IMPAIR", impairer).stdin(Stdio::null()).output()
}
