//! The control process as the launcher's child; started again when it dies.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use streams_control::datadir::DataDir;
use tokio::process::Command;

use super::restarts::{DEATHS_MAX, Restarts};
use super::watched::Watched;
use super::{CONTROL_STOP, Launch};
use crate::Error;

/// How often the lock of a control process that is ending is tried.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A launcher that died leaves a control process which is just ending: its lock and its ports are free in a moment.
pub async fn wait_for_the_one_before(dir: &DataDir) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + CONTROL_STOP;
    loop {
        match dir.lock("control.lock", "a control process") {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error.into()),
            Err(streams_control::Error::DataDirTaken { .. }) => tokio::time::sleep(LOCK_RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The control process.
pub struct Control {
    process: Watched,
    restarts: Restarts,
    log: PathBuf,
}

impl Control {
    /// Starts it.
    pub fn start(launch: &Launch<'_>) -> Result<Self, Error> {
        let process = spawn(launch)?;
        Ok(Self { process, restarts: Restarts::new(Instant::now()), log: launch.dir.log("control.log") })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Watched {
        &mut self.process
    }

    /// The error for a control process that ended before it was ready.
    pub fn failed(&self, status: String) -> Error {
        Error::ControlFailed { status, log: self.log.clone() }
    }

    /// Starts it again, at once or after a wait that grows while it keeps dying early; it joins the shared memory that the one
    /// before left, and the engine never misses it. An error when it died too often.
    pub async fn restart(&mut self, launch: &Launch<'_>, status: String, engine: u32) -> Result<(), Error> {
        let Some(wait) = self.restarts.death(Instant::now()) else {
            return Err(Error::ControlGone { status, deaths: DEATHS_MAX, engine, log: self.log.clone() });
        };
        launch
            .output
            .note(&format!("control stopped ({status}); starting it again, the engine (pid {engine}) keeps serving"));
        tokio::time::sleep(wait).await;
        self.process = spawn(launch)?;
        self.restarts.started(Instant::now());
        Ok(())
    }
}

/// It is outside of the terminal's process group: Ctrl-C reaches the launcher alone, which stops things in order.
fn spawn(launch: &Launch<'_>) -> Result<Watched, Error> {
    let program = beside("streams-control")?;
    let mut command = Command::new(&program);
    command.arg("--data").arg(launch.dir.root()).arg("--log-file").arg(launch.dir.log("control.log"));
    command.arg("--launcher").arg(std::process::id().to_string());
    for arg in shared_flags(launch) {
        command.arg(arg);
    }
    if let Some(folder) = launch.web_dir {
        command.arg("--web-dir").arg(folder);
    }
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    Watched::child(child.map_err(|source| Error::Start { program, source })?)
}

/// A program of this installation: next to this one.
pub fn beside(name: &str) -> Result<PathBuf, Error> {
    let this = std::env::current_exe().map_err(Error::file("find", "this program"))?;
    let program = this.with_file_name(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::Start { program, source: std::io::ErrorKind::NotFound.into() })
}

/// The flags that control and engine both take, so that they agree with what the launcher checked and prints.
pub fn shared_flags(launch: &Launch<'_>) -> Vec<String> {
    let config = &launch.settings.config;
    let mut flags = vec![
        "--host".to_owned(),
        config.server.host.to_string(),
        "--shards".to_owned(),
        config.shards().to_string(),
        "--io".to_owned(),
        config.engine.io.to_string(),
        "--poll".to_owned(),
        config.engine.poll.to_string(),
    ];
    if let Some(file) = &launch.settings.file {
        flags.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
    }
    flags
}
