//! The engine as the launcher sees it: started in a session of its own, or attached to; started again when it dies.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use streams_control::datadir::write_private;
use streams_control::program::peek;
use tokio::process::Command;
use tokio::time::timeout;

use super::Launch;
use super::control::{beside, shared_flags};
use super::restarts::{DEATHS_MAX, Restarts};
use super::watched::Watched;
use crate::Error;

/// A shard shows within a housekeeping interval (50 ms) that it was asked to stop; the rest is for a busy machine.
const STOP_SHOWS: Duration = Duration::from_millis(250);
/// The longest wait for an engine that is ending by itself, which takes half a second on a machine with time.
const ENDING_MAX: Duration = Duration::from_secs(10);

/// Begins the line in which an engine says why it ends.
const SAYS_WHY: &str = "streams-engine: ";

/// The engine's process.
pub struct Engine {
    process: Watched,
    attached: bool,
    restarts: Restarts,
    log: PathBuf,
}

impl Engine {
    /// Starts an engine.
    pub fn start(launch: &Launch<'_>) -> Result<Self, Error> {
        let process = spawn(launch)?;
        Ok(Self::new(launch, process, false))
    }

    /// Attaches to the engine that serves this data directory, unless it was started otherwise than this launcher would.
    /// `None` when there is none; one that is ending is waited for, as its ports are taken until then.
    pub async fn find(launch: &Launch<'_>) -> Result<Option<Self>, Error> {
        let run_dir = launch.dir.run_dir();
        let Some(pid) = peek(&run_dir).pid() else { return Ok(None) };
        let Some(mut process) = Watched::other(pid)? else { return Ok(None) };
        let started_with = std::fs::read_to_string(args_file(launch)).unwrap_or_default();
        let fits = started_with.trim() == engine_args(launch).join(" ");
        let ending = async |process: &mut Watched| {
            // Whoever followed the advice below a moment ago has sent a signal that does not show yet.
            let ended = !fits && timeout(STOP_SHOWS, process.ended()).await.is_ok();
            ended || peek(&run_dir).ending()
        };
        if ending(&mut process).await {
            launch.output.note(&format!("waiting for the engine that is ending (pid {pid})"));
            let late = Error::EngineEnding { pid, seconds: ENDING_MAX.as_secs() };
            return timeout(ENDING_MAX, process.ended()).await.map(|_| None).map_err(|_| late);
        }
        if !fits {
            return Err(Error::Usage(format!(
                "an engine (pid {pid}) still serves this data directory with other settings ({}); run `streams up` with \
                 those, or stop it first: kill {pid}",
                started_with.trim()
            )));
        }
        Ok(Some(Self::new(launch, process, true)))
    }

    fn new(launch: &Launch<'_>, process: Watched, attached: bool) -> Self {
        let log = launch.dir.log("engine.log");
        Self { process, attached, restarts: Restarts::new(Instant::now()), log }
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
        let reason = match streams_logs::last_line(&self.log) {
            Some(line) => format!("{what}: {line}"),
            None => what.to_owned(),
        };
        Error::EngineFailed { reason, log: self.log.clone() }
    }

    /// Starts it again, at once or after a wait that grows while it keeps dying early. An error when it died too often.
    pub async fn restart(&mut self, launch: &Launch<'_>, status: &str) -> Result<(), Error> {
        // A killed engine said nothing of its end: the last line is of its life then.
        let said = streams_logs::last_line(&self.log).filter(|line| line.starts_with(SAYS_WHY));
        let why = said.map(|line| format!(": {line}")).unwrap_or_default();
        let status = format!("{}{why}", explained(status));
        let Some(wait) = self.restarts.death(Instant::now()) else {
            return Err(Error::EngineGivenUp { status, deaths: DEATHS_MAX, log: self.log.clone() });
        };
        launch.output.note(&format!("the engine stopped ({status}); starting it again"));
        tokio::time::sleep(wait).await;
        self.process = spawn(launch)?;
        self.attached = false;
        self.restarts.started(Instant::now());
        Ok(())
    }
}

/// Says what the end by its filter of system calls means, which leaves nothing in the engine's own log.
fn explained(status: &str) -> String {
    if status.contains("SIGSYS") {
        return format!(
            "{status}: it made a system call that is not on its list, which is a defect or an attack; the kernel's log names \
             the call, and `[engine] seccomp = \"log\"` lets it go on"
        );
    }
    status.to_owned()
}

/// The engine leaves the launcher's session (see `detached`), and writes to its own log.
fn spawn(launch: &Launch<'_>) -> Result<Watched, Error> {
    let program = beside("streams-engine")?;
    let args = engine_args(launch);
    write_private(&args_file(launch), args.join(" ").as_bytes())?;
    let this = std::env::current_exe().map_err(Error::file("find", "this program"))?;
    let log = launch.dir.log("engine.log");
    // What it says before it has opened its log, which it bounds by itself.
    let errors = streams_logs::append(&log)?;
    let child = Command::new(this)
        .args(["detached", "--"])
        .arg(&program)
        .args(&args)
        .arg("--log-file")
        .arg(&log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
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
