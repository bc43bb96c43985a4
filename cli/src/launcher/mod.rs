//! `streams up`: starts control, then the engine beside it, and watches both.
//!
//! ```text
//! streams up ─┬─ streams-control   a child; dies with the launcher (parent-death signal)
//!             └─ streams-engine    a session of its own; outlives the launcher and control
//! ```
//!
//! The engine that already serves this data directory is attached to instead of started. Whichever of the two dies is started
//! again, with one line each time, until it died five times within a minute ([`restarts`]). When that is control, the engine
//! keeps serving and the next `streams up` attaches to it.

mod control;
mod engine;
mod ready;
mod restarts;
mod watched;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use streams_control::datadir::DataDir;
use streams_control::endpoints::{Endpoints, ports};
use streams_control::program::sessions_open;
use streams_control::settings::{Flags, Settings};

use self::control::Control;
use self::engine::Engine;
use crate::Error;
use crate::client::Client;
use crate::output::Output;
use crate::signals::StopSignals;

/// Control gets so long to end after SIGTERM.
const CONTROL_STOP: Duration = Duration::from_secs(5);
/// The engine gets so long to end after SIGTERM.
const ENGINE_STOP: Duration = Duration::from_secs(5);
/// A port that is in use for longer is not that of an engine that is just going.
const PORT_GOING_MAX: Duration = Duration::from_secs(1);
/// How often it is looked at meanwhile.
const PORT_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How often a draining engine is asked whether sessions are left.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Flags of `streams up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    flags: Flags,
    /// Print the configuration that would be used, with every key explained, and end
    #[arg(long)]
    print_config: bool,
}

/// A program to run in a session of its own.
#[derive(Debug, clap::Args)]
pub struct DetachedArgs {
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Becomes the leader of a new session, then the program: no signal of the launcher's terminal reaches it. Returns only
/// when that failed.
pub fn detached(args: &DetachedArgs) -> Error {
    use std::os::unix::process::CommandExt;
    let failed = |source| Error::Start { program: args.program.clone(), source };
    match rustix::process::setsid() {
        Ok(_) => failed(std::process::Command::new(&args.program).args(&args.args).stdin(Stdio::null()).exec()),
        Err(errno) => failed(errno.into()),
    }
}

/// Tries the ports. A killed engine is gone before its ports are: the kernel takes its rings apart some 30 ms later.
async fn check_ports(endpoints: &Endpoints, engine_runs: bool) -> Result<(), Error> {
    let deadline = Instant::now() + PORT_GOING_MAX;
    loop {
        match ports::check(endpoints, engine_runs) {
            Err(streams_control::Error::Port { source, .. })
                if source.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                tokio::time::sleep(PORT_LOOK_INTERVAL).await;
            }
            checked => return Ok(checked?),
        }
    }
}

/// Runs an installation in the foreground until SIGINT, SIGTERM or SIGHUP.
pub async fn up(data: Option<PathBuf>, args: UpArgs, output: &Output) -> Result<(), Error> {
    let settings = Settings::load(data, &args.flags)?;
    if args.print_config {
        let config = json!(settings.config.to_table());
        return output.show(&config, || settings.config.to_toml());
    }
    let dir = DataDir::create(&settings.config.server.data)?;
    let _lock = dir.lock("up.lock", "`streams up`")?;
    let endpoints = Endpoints::new(&settings.config);
    let launch = Launch { dir: &dir, settings: &settings, web_dir: args.flags.web_dir.as_deref(), output };
    control::wait_for_the_one_before(&dir).await?;
    let mut engine = Engine::find(&launch).await?;
    check_ports(&endpoints, engine.is_some()).await?;

    streams_privileges::adopt_run_dir(&settings.config.engine.user, &dir.run_dir())?;
    // Until here nothing was started: a signal may end this process at once.
    let mut stop = StopSignals::new()?;
    let mut control = Control::start(&launch)?;
    let served = tokio::select! {
        served = serve(&launch, &endpoints, &mut control, &mut engine) => served,
        () = stop.next() => {
            output.note("stopping (again to stop at once)");
            tokio::select! {
                stopped = wind_down(&launch, &endpoints, engine.as_mut()) => stopped,
                () = stop.next() => kill(engine.as_mut()).await,
            }
        }
    };
    // What never became ready is not left behind; an engine that served stays when control died.
    if let (Err(Error::EngineFailed { .. } | Error::ControlFailed { .. }), Some(engine)) = (&served, &mut engine) {
        engine.give_up(ENGINE_STOP).await?;
    }
    control.process().stop(CONTROL_STOP).await?;
    if served.is_ok() {
        // Both have ended: nobody needs the shared memory any more.
        remove_run_dir(&dir)?;
    }
    served
}

async fn kill(engine: Option<&mut Engine>) -> Result<(), Error> {
    match engine {
        Some(engine) => engine.process().kill().await,
        None => Ok(()),
    }
}

fn remove_run_dir(dir: &DataDir) -> Result<(), Error> {
    let run_dir = dir.run_dir();
    match std::fs::remove_dir_all(&run_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", run_dir)(error)),
        _ => Ok(()),
    }
}

/// What the parts of the launcher share.
struct Launch<'a> {
    dir: &'a DataDir,
    settings: &'a Settings,
    web_dir: Option<&'a std::path::Path>,
    output: &'a Output,
}

/// Waits until everything is ready, tells so, then watches. It ends by an error alone.
async fn serve(
    launch: &Launch<'_>,
    endpoints: &Endpoints,
    control: &mut Control,
    engine: &mut Option<Engine>,
) -> Result<(), Error> {
    // Certificate and tables first: an engine that starts finds them, not what an earlier start left behind.
    tokio::select! {
        up = ready::wait(launch.dir, endpoints, "/healthz") => up?,
        status = control.process().ended() => return Err(control.failed(status)),
    }
    let engine = match engine {
        Some(engine) => engine,
        None => engine.insert(Engine::start(launch)?),
    };
    loop {
        let pid = engine.process().pid();
        tokio::select! {
            ready = ready::wait_for_engine(launch.dir, endpoints, pid) => break ready?,
            status = control.process().ended() => return Err(control.failed(status)),
            status = engine.process().ended() => match engine.attached() {
                // It was there before: that it ends says nothing about one that is started now.
                true => engine.restart(launch, &status).await?,
                false => return Err(engine.failed(&format!("it ended ({status})"))),
            }
        }
    }
    ready::tell(launch, endpoints, engine.attached())?;
    loop {
        tokio::select! {
            status = control.process().ended() => control.restart(launch, status, engine.process().pid()).await?,
            status = engine.process().ended() => engine.restart(launch, &status).await?,
        }
    }
}

/// Lets sessions go, then stops the engine.
async fn wind_down(launch: &Launch<'_>, endpoints: &Endpoints, engine: Option<&mut Engine>) -> Result<(), Error> {
    let Some(engine) = engine else { return Ok(()) };
    let drain = Duration::from_millis(launch.settings.config.engine.drain_timeout_ms);
    let body = json!({ "timeout_seconds": drain.as_millis().div_ceil(1000) as u64 });
    let asked = match Client::new(launch.dir, Some(&endpoints.api()), None) {
        Ok(client) => client.post("/v1/drain", &body).await,
        Err(error) => Err(error),
    };
    match asked {
        // Whether all have left or the time is over: the engine is stopped next.
        Ok(_) => drop(tokio::time::timeout(drain, sessions_gone(launch, engine)).await),
        Err(error) => launch.output.note(&format!("sessions are not told: {error}")),
    }
    engine.process().stop(ENGINE_STOP).await
}

/// Waits until no session is open, or the engine has ended by itself.
async fn sessions_gone(launch: &Launch<'_>, engine: &mut Engine) {
    let run_dir = launch.dir.run_dir();
    let left = async {
        while sessions_open(&run_dir).is_some_and(|open| open > 0) {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    tokio::select! {
        () = left => {}
        _ = engine.process().ended() => {}
    }
}
