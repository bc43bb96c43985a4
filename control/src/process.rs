//! The control process from its start to its end.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use streams_config::{Config, Profile};
use streams_contract::{Command, Event};
use streams_logs::{Seldom, redact};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::datadir::DataDir;
use crate::endpoints::Endpoints;
use crate::http::api::{App, RateLimit, router};
use crate::http::connections::{Bounds, Limit};
use crate::http::servers::{self, Serving};
use crate::http::web::WebRoot;
use crate::keys::Vault;
use crate::metrics::Metrics;
use crate::program::{Contents, Program, revoked_known_since_ms};
use crate::resources::Resources;
use crate::settings::{Flags, Settings};
use crate::store::{SqliteStore, Store};
use crate::tls::Certificates;
use crate::{Error, clock, provision};

/// Shared memory is looked after so often: a restarted engine is joined and an event logged within this.
const TICK: Duration = Duration::from_millis(50);
/// A change that could not be undone is tried again so often.
const REPAIR: Duration = Duration::from_secs(1);
/// The certificate is looked after so often; its steps are days apart.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(600);
/// Requests get so long to finish when the process is asked to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The control process: REST API, tables of the engine, metrics, player page.
#[derive(Debug, clap::Parser)]
#[command(name = "streams-control", version)]
pub struct ControlArgs {
    /// Data directory [default: the XDG data folder + /streams]
    #[arg(long, value_name = "DIR", env = "STREAMS_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: Flags,
    /// Log to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Process id of the launcher; when it dies, so does this process
    #[arg(long, value_name = "PID")]
    pub launcher: Option<i32>,
}

/// Runs until SIGTERM (or, without a launcher, SIGINT).
pub async fn run(args: ControlArgs) -> Result<(), Error> {
    if let Some(launcher) = args.launcher {
        die_with(launcher)?;
    }
    let Settings { config, .. } = Settings::load(args.data, &args.flags)?;
    let dir = DataDir::create(&config.server.data)?;
    let _lock = dir.lock("control.lock", "a control process")?;
    streams_logs::start(&config.log, args.log_file.as_deref())?;

    let https = servers::bind(Endpoints::new(&config).https_address(), "ports.https")?;
    let http = Endpoints::new(&config)
        .http_dev_address()
        .map(|address| servers::bind(address, "ports.http_dev"))
        .transpose()?;
    let app = open(&dir, config, args.flags.web_dir).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api = app.endpoints.api(), "control starts");
    let served = serve(&app, https, http, args.launcher.is_some()).await;
    app.program.close();
    served
}

/// Opens everything behind the API: database, secrets, certificate, shared memory.
pub async fn open(dir: &DataDir, config: Config, web_dir: Option<PathBuf>) -> Result<Arc<App>, Error> {
    let endpoints = Endpoints::new(&config);
    let certificates = Certificates::new(dir.tls(), &config.server.host.to_string());
    let replaced = match config.server.profile {
        Profile::Dev => certificates.look_after(clock::unix_ms())?,
        Profile::Production => {
            certificates.require()?;
            false
        }
    };
    let vault = Arc::new(Vault::open(&dir.secret_key())?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.database()).await?);
    provision::first_start(dir, store.as_ref(), &endpoints).await?;
    let signing_keys = store.signing_keys_known_since(revoked_known_since_ms(clock::unix_ms())).await?;
    let (inputs, tunables) = (store.all_live_inputs().await?, store.tunables().await?);
    let contents = Contents { inputs, signing_keys, tunables };
    let program = Arc::new(Program::open(&dir.run_dir(), config.shards(), &contents, vault.clone())?);
    if replaced {
        // An engine that ran on while there was no control serves the one before.
        program.send(&Command::ReloadCertificate)?;
    }
    let window_s = config.ingest.reconnect_window_s;
    Ok(Arc::new(App {
        resources: Resources::new(store.clone(), program.clone(), vault.clone(), window_s),
        store,
        metrics: Metrics::new(program.clone()),
        program,
        vault,
        endpoints,
        certificates,
        web: WebRoot::find(web_dir.as_deref()),
        limit: RateLimit::new(config.api.rate_per_s, config.api.burst),
        config,
    }))
}

async fn serve(app: &Arc<App>, https: TcpListener, http: Option<TcpListener>, terminal: bool) -> Result<(), Error> {
    let tls = RustlsConfig::from_config(app.certificates.server_config()?);
    let handle = Handle::new();
    let mut tasks = JoinSet::new();
    let serving = || Serving {
        limit: Limit::new(Bounds::new(&app.config.api), app.metrics.connections_refused.clone()),
        head_timeout: Duration::from_millis(app.config.api.request_timeout_ms),
        handle: handle.clone(),
    };
    tasks.spawn(servers::https(https, tls.clone(), router(app.clone(), false), serving()));
    if let Some(http) = http {
        tasks.spawn(servers::http(http, router(app.clone(), true), serving()));
    }
    tasks.spawn(look_after_program(app.clone(), terminal));
    tasks.spawn(look_after_resources(app.clone()));
    tasks.spawn(look_after_certificate(app.clone(), tls));
    let ended = tokio::select! {
        Some(ended) = tasks.join_next() => outcome(ended),
        () = asked_to_stop() => Ok(()),
    };
    tracing::info!("control stops");
    handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
    // Connections that outlive the time-out are cut: nothing to do about the elapsed time.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, idle(&handle)).await;
    ended
}

/// Nobody else would hear of a task that panicked: control must not end as if it had been asked to.
fn outcome(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|source| Err(Error::Task { task: "a task of control", source }))
}

/// Waits for the servers' connections; what else runs ends with its set.
async fn idle(handle: &Handle<SocketAddr>) {
    while handle.connection_count() > 0 {
        tokio::time::sleep(TICK).await;
    }
}

async fn look_after_program(app: Arc<App>, terminal: bool) -> Result<(), Error> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.program.tick(|event| {
            log_event(event);
            if let Some(line) = short_line(event).filter(|_| terminal) {
                // A terminal that is gone is no reason to end.
                let _ = writeln!(io::stderr(), "{}", redact(&line));
            }
        });
    }
}

async fn look_after_resources(app: Arc<App>) -> Result<(), Error> {
    let mut ticks = interval(REPAIR);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.resources.repair().await;
    }
}

async fn look_after_certificate(app: Arc<App>, tls: RustlsConfig) -> Result<(), Error> {
    let mut ticks = interval(CERTIFICATE_CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut replaced = false;
    loop {
        ticks.tick().await;
        if app.config.server.profile != Profile::Dev {
            continue;
        }
        replaced |= app.certificates.look_after(clock::unix_ms())?;
        if !replaced {
            continue;
        }
        match app.certificates.server_config() {
            Ok(config) => {
                tls.reload_from_config(config);
                app.program.send(&Command::ReloadCertificate)?;
                tracing::info!("the development certificate was replaced by the next one");
                replaced = false;
            }
            // Out of files, say: the one before is served until this is read.
            Err(error) => tracing::warn!(%error, "the new certificate cannot be read yet"),
        }
    }
}

fn log_event(event: &Event) {
    match event {
        Event::SessionOpened { session, shard, kind, resource, peer } => {
            tracing::info!(session, shard, %kind, resource, peer, "session opened");
        }
        Event::SessionClosed { session, shard, cause, reason } => {
            tracing::info!(session, shard, %cause, reason, "session closed");
        }
        Event::IngestUp { input, shard, protocol, peer } => {
            tracing::info!(input, shard, %protocol, peer, "encoder up");
        }
        Event::IngestDown { input, shard, reason } => tracing::info!(input, shard, reason, "encoder down"),
        // Strangers may come thousands of times a second.
        Event::IngestRefused { input: None, shard, reason, peer } => {
            static STRANGERS: Seldom = Seldom::new();
            if let Some(left_out) = STRANGERS.pass(Instant::now()) {
                tracing::warn!(shard, reason, peer, left_out, "encoder refused");
            }
        }
        Event::IngestRefused { input, shard, reason, peer } => {
            tracing::warn!(input, shard, reason, peer, "encoder refused");
        }
        other => tracing::debug!(?other, "event"),
    }
}

/// What the person in front of `streams up` wants to know: what becomes of the encoders.
fn short_line(event: &Event) -> Option<String> {
    match event {
        Event::IngestUp { input, protocol, peer, .. } => Some(format!("{input}: {protocol} encoder up from {peer}")),
        Event::IngestDown { input, reason, .. } => Some(format!("{input}: encoder down ({reason})")),
        // Without a valid input it is some stranger: the log has it, the terminal is not theirs to fill.
        Event::IngestRefused { input: Some(input), reason, peer, .. } => {
            Some(format!("{input}: encoder from {peer} refused ({reason})"))
        }
        _ => None,
    }
}

async fn asked_to_stop() {
    let on = |kind| signal(kind).ok();
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate()), on(SignalKind::interrupt()));
    let wait = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    };
    tokio::select! {
        () = wait(&mut terminate) => {}
        () = wait(&mut interrupt) => {}
    }
}

/// The kernel sends SIGTERM when the launcher dies. A launcher that died before this was asked is seen by its child having
/// another parent.
fn die_with(launcher: i32) -> Result<(), Error> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|errno| Error::Process {
        action: "watch",
        pid: launcher.unsigned_abs(),
        source: errno.into(),
    })?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
    if parent == Some(launcher) { Ok(()) } else { Err(Error::LauncherGone { pid: launcher }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_an_error_of_control() {
        let panicked = tokio::spawn(async { panic!("a defect") }).await;
        let error = outcome(panicked).unwrap_err().to_string();
        assert!(error.contains("a defect"), "{error}");
        outcome(tokio::spawn(async { Ok(()) }).await).unwrap();
    }
}
