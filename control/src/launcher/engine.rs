//! The engine as the launcher sees it: started in a session of its own, or attached to; started again when it dies.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Launch;
use super::control::{beside, shared_flags};
use super::watched::Watched;
use crate::Error;
use crate::datadir::write_private;
use crate::logging::LogFile;
use crate::redact::redact;

/// An engine that lived so long did not die of how it was started: the next one starts at once.
const LIVED: Duration = Duration::from_secs(10);
/// The first wait before an engine that died early is started again; it doubles each time.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The engine's process.
pub struct Engine {
    process: Watched,
    attached: bool,
    started_at: Instant,
    backoff: Duration,
    log: PathBuf,
}

impl Engine {
    /// Starts an engine.
    pub fn start(launch: &Launch<'_>) -> Result<Self, Error> {
        let process = spawn(launch)?;
        Ok(Self::new(launch, process, false))
    }

    /// Attaches to the engine that serves this data directory, unless it was started otherwise than this launcher would.
    pub fn attach(launch: &Launch<'_>, pid: u32) -> Result<Self, Error> {
        let started_with = std::fs::read_to_string(args_file(launch)).unwrap_or_default();
        let wanted = engine_args(launch).join(" ");
        if started_with.trim() != wanted {
            return Err(Error::Usage(format!(
                "an engine (pid {pid}) still serves this data directory with other settings ({}); run `streams up` with \
                 those, or stop it first: kill {pid}",
                started_with.trim()
            )));
        }
        Ok(Self::new(launch, Watched::other(pid)?, true))
    }

    fn new(launch: &Launch<'_>, process: Watched, attached: bool) -> Self {
        let log = launch.dir.log("engine.log");
        Self { process, attached, started_at: Instant::now(), backoff: BACKOFF_MIN, log }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Watched {
        &mut self.process
    }

    /// Whether it ran before this launcher.
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Stops an engine that this launcher started; one that it attached to goes on.
    pub async fn give_up(&mut self, grace: Duration) -> Result<(), Error> {
        if self.attached { Ok(()) } else { self.process.stop(grace).await }
    }

    /// The error for an engine that did not become ready.
    pub fn failed(&self, what: &str) -> Error {
        let reason = match last_line(&self.log) {
            Some(line) => format!("{what}: {line}"),
            None => what.to_owned(),
        };
        Error::EngineFailed { reason, log: self.log.clone() }
    }

    /// Starts it again, at once or after a wait that grows while it keeps dying early.
    pub async fn restart(&mut self, launch: &Launch<'_>, status: &str) -> Result<(), Error> {
        let wait = if self.started_at.elapsed() >= LIVED { Duration::ZERO } else { self.backoff };
        self.backoff = if wait.is_zero() { BACKOFF_MIN } else { (self.backoff * 2).min(BACKOFF_MAX) };
        launch.output.note(&format!("the engine stopped ({status}); starting it again"));
        tokio::time::sleep(wait).await;
        self.process = spawn(launch)?;
        self.attached = false;
        self.started_at = Instant::now();
        Ok(())
    }
}

/// The engine leaves the launcher's session (see `detached`), and writes to its own log.
fn spawn(launch: &Launch<'_>) -> Result<Watched, Error> {
    let program = beside("streams-engine")?;
    let args = engine_args(launch);
    write_private(&args_file(launch), args.join(" ").as_bytes())?;
    let this = std::env::current_exe().map_err(Error::file("find", "this program"))?;
    let log = LogFile::open(&launch.dir.log("engine.log"))?.into_file();
    let errors = log.try_clone().map_err(Error::file("open", launch.dir.log("engine.log")))?;
    let child = Command::new(this)
        .args(["detached", "--"])
        .arg(&program)
        .args(&args)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|source| Error::Start { program, source })?;
    Watched::child(child)
}

fn engine_args(launch: &Launch<'_>) -> Vec<String> {
    let config = &launch.settings.config;
    let mut args = vec![
        "--data".to_owned(),
        launch.dir.root().to_string_lossy().into_owned(),
        "--port".to_owned(),
        config.ports.quic.to_string(),
        "--rtmp-port".to_owned(),
        config.ports.rtmp.to_string(),
    ];
    args.extend(shared_flags(launch));
    args
}

/// What the engine was started with.
fn args_file(launch: &Launch<'_>) -> PathBuf {
    launch.dir.root().join("engine.args")
}

/// The last line of a log with something in it.
fn last_line(log: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&std::fs::read(log).ok()?).into_owned();
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(|line| redact(line).into_owned())
}
