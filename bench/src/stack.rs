//! The stack that is measured: one that runs already, or `streams up` on a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use streams_sdk::Trust;

use crate::engine::{Engine, run_dir};
use crate::error::BenchError;
use crate::namespace::command;
use crate::process::{self, Owned};
use crate::report::Report;

/// How long `streams up` may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(90);
/// How long it may take to end: a drain, then control and engine with a grace of their own.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Lines of the engine's log that are told.
const COMPLAINTS_MAX: usize = 20;
/// First bytes of the engine's process name, as the kernel keeps it.
const ENGINE_NAME: &str = "streams-engine";

/// Which stack to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct StackArgs {
    /// Start a stack of its own on free ports and end it afterwards
    #[arg(long)]
    pub start: bool,
    /// Data directory of a stack that runs already
    #[arg(long, value_name = "DIR", env = "STREAMS_DATA", conflicts_with = "start")]
    pub data: Option<PathBuf>,
    /// Shards of the stack that --start starts
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub shards: usize,
    /// How the shards of that stack wait
    #[arg(long, default_value = "adaptive", value_parser = ["adaptive", "busy"])]
    pub poll: String,
}

/// A stack of our own: how it differs from the defaults.
#[derive(Debug, Clone)]
pub struct Own {
    /// Shards.
    pub shards: usize,
    /// `adaptive` or `busy`.
    pub poll: String,
    /// Packet backend.
    pub io: String,
    /// The address that its ports bind to.
    pub host: IpAddr,
    /// The network namespace that it runs in, as `ip netns` calls it; `None` for the one of this process.
    pub namespace: Option<String>,
    /// Further lines of `[engine]`.
    pub engine: String,
    /// Further sections of `streams.toml`.
    pub toml: String,
}

impl Own {
    /// On loopback, with the defaults of everything else.
    pub fn on_loopback(shards: usize, poll: &str) -> Self {
        Self {
            shards,
            poll: poll.to_owned(),
            io: "auto".to_owned(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            namespace: None,
            engine: String::new(),
            toml: String::new(),
        }
    }
}

/// A live input as `streams live create` made it.
#[derive(Debug, Clone)]
pub struct Input {
    /// `lv_…`
    pub id: String,
    /// The stream key.
    pub key: String,
    /// `rtmp://HOST:PORT/live`
    pub rtmp: String,
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    data: PathBuf,
    engine: Engine,
    namespace: Option<String>,
    /// Set when it was started here. Ends when it drops.
    _started: Option<Started>,
}

impl Stack {
    /// Finds or starts the stack.
    ///
    /// # Errors
    /// [`BenchError::NoStack`], and whatever keeps a stack from starting.
    pub fn open(args: &StackArgs) -> Result<Self, BenchError> {
        if args.start {
            return Self::start(&Own::on_loopback(args.shards, &args.poll));
        }
        let data = args.data.clone().ok_or(BenchError::NoStack)?;
        Ok(Self { engine: Engine::of(&data)?, data, namespace: None, _started: None })
    }

    /// Starts a stack of our own.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn start(own: &Own) -> Result<Self, BenchError> {
        let started = Started::start(own)?;
        let data = started.data.clone();
        Ok(Self { engine: Engine::of(&data)?, data, namespace: own.namespace.clone(), _started: Some(started) })
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The certificate that viewers pin.
    ///
    /// # Errors
    /// [`BenchError::File`] when there is none.
    pub fn trust(&self) -> Result<Trust, BenchError> {
        let path = self.data.join("tls").join("cert.pem");
        Ok(Trust::PinnedCertPem(std::fs::read(&path).map_err(BenchError::file("read", &path))?))
    }

    /// Makes a live input.
    ///
    /// # Errors
    /// [`BenchError::Command`] when the command fails.
    pub fn live_input(&self, name: &str) -> Result<Input, BenchError> {
        let created = self.streams(&["live", "create", "--name", name, "--ingest", "rtmp"])?;
        let rtmp = created.get("urls").and_then(|urls| urls.get("rtmp")).and_then(Value::as_str);
        let rtmp = rtmp.ok_or(BenchError::Output("urls.rtmp"))?.to_owned();
        Ok(Input { id: text(&created, "id")?, key: text(&created, "stream_key")?, rtmp })
    }

    /// Deletes a live input, so that a stack that goes on keeps nothing of a measurement.
    ///
    /// # Errors
    /// [`BenchError::Command`] when the command fails.
    pub fn delete(&self, input: &Input) -> Result<(), BenchError> {
        self.streams(&["live", "delete", &input.id]).map(drop)
    }

    /// The `moqt:` URL of an input, with a fresh token of an hour.
    ///
    /// # Errors
    /// [`BenchError::Command`] when the command fails.
    pub fn moqt_url(&self, input: &Input) -> Result<String, BenchError> {
        text(&self.streams(&["playback-url", &input.id])?, "moqt")
    }

    /// After a measurement that failed: prints the newest lines of the engine's log that are more than notes.
    pub fn tell_complaints(&self, measured: &Result<Report, BenchError>) {
        if measured.as_ref().is_ok_and(|report| report.failures().is_empty()) {
            return;
        }
        for line in self.complaints() {
            eprintln!("engine.log: {line}");
        }
    }

    fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.data.join("log").join("engine.log")).unwrap_or_default();
        let mut lines: Vec<String> =
            log.lines().rev().filter(|line| !line.contains(" INFO ")).take(COMPLAINTS_MAX).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    fn streams(&self, arguments: &[&str]) -> Result<Value, BenchError> {
        let shown = format!("streams {}", arguments.join(" "));
        let failed = |reason: String| BenchError::Command { command: shown.clone(), reason };
        let output = command(self.namespace.as_deref(), &beside("streams")?)
            .args(arguments)
            .arg("--json")
            .env("STREAMS_DATA", &self.data)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("its output is no JSON: {error}")))
    }
}

/// `streams up` of our own.
#[derive(Debug)]
struct Started {
    data: PathBuf,
    engine_pid: Option<u32>,
    up: Option<Owned>,
}

impl Started {
    fn start(own: &Own) -> Result<Self, BenchError> {
        let program = beside("streams")?;
        for other in ["streams-control", ENGINE_NAME] {
            beside(other)?;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("streams-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = std::env::temp_dir().join(name);
        let mut started = Self { data: data.clone(), engine_pid: None, up: None };
        std::fs::create_dir_all(&data).map_err(BenchError::file("make", &data))?;
        let config = data.join("streams.toml");
        std::fs::write(&config, configuration(own)?).map_err(BenchError::file("write", &config))?;
        let mut child = command(own.namespace.as_deref(), &program)
            .args(["up", "--data"])
            .arg(&data)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| up_failed(error.to_string()))?;
        let (sender, lines) = channel();
        let outputs = [
            child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
            child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            // Reads to the end whoever listens, for a full pipe would stop the stack.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        drop(sender);
        started.up = Some(Owned::new(child, Signal::INT, STOP_MAX));
        wait_ready(&lines)?;
        started.engine_pid = Some(Engine::of(&data)?.pid());
        Ok(started)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.up.take());
        // What a launcher that had to be killed left behind: the engine has a session of its own.
        if let Some(pid) = self.engine_pid.filter(|pid| process::name(*pid).as_deref() == Some(ENGINE_NAME)) {
            process::signal(pid, Signal::KILL);
        }
        if let Ok(run_dir) = run_dir(&self.data) {
            let _ = std::fs::remove_dir_all(run_dir);
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn wait_ready(lines: &Receiver<String>) -> Result<(), BenchError> {
    let deadline = Instant::now() + READY_MAX;
    let mut printed = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with("ready") => return Ok(()),
            Ok(line) => {
                printed.push_str(&line);
                printed.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(BenchError::TooLong { what: "`streams up` is ready", patience: READY_MAX });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(up_failed(printed.trim().to_owned())),
        }
    }
}

fn up_failed(reason: String) -> BenchError {
    BenchError::Command { command: "streams up".to_owned(), reason }
}

/// A configuration with ports that are free now. They are held until all are known, so that they differ. Those of a namespace of
/// its own are free there as well.
fn configuration(own: &Own) -> Result<String, BenchError> {
    let path = Path::new("127.0.0.1");
    let udp = UdpSocket::bind("127.0.0.1:0").map_err(BenchError::file("find a free UDP port on", path))?;
    let quic = udp.local_addr().map_err(BenchError::file("find a free UDP port on", path))?.port();
    let mut tcp = Vec::new();
    for _ in 0..3 {
        tcp.push(TcpListener::bind("127.0.0.1:0").map_err(BenchError::file("find a free TCP port on", path))?);
    }
    let Own { shards, poll, io, host, engine, toml, .. } = own;
    let mut text = format!(
        "[server]\nhost = \"{host}\"\n[engine]\nshards = {shards}\npoll = \"{poll}\"\nio = \"{io}\"\n{engine}\n{toml}\n\
         [ports]\nquic = {quic}\n"
    );
    for (key, listener) in ["rtmp", "https", "http_dev"].into_iter().zip(&tcp) {
        let address = listener.local_addr().map_err(BenchError::file("find a free TCP port on", path))?;
        text.push_str(&format!("{key} = {}\n", address.port()));
    }
    Ok(text)
}

/// A program of the same build as this one. The tests of this one lie a folder deeper.
fn beside(name: &str) -> Result<PathBuf, BenchError> {
    let this = std::env::current_exe().map_err(BenchError::file("find", Path::new("this program")))?;
    let mut path = this.with_file_name(name);
    if let Some(folder) = this.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent) {
        path = folder.join(name);
    }
    let profile = if cfg!(debug_assertions) { "" } else { "--release " };
    if path.is_file() { Ok(path) } else { Err(BenchError::NotBuilt { path, profile }) }
}

fn text(value: &Value, key: &'static str) -> Result<String, BenchError> {
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(BenchError::Output(key))
}
