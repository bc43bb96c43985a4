//! `streams up` of one's own.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{
    Engine, HarnessError, Namespace, Owned, Ports, Signal, Streams, processes_named, program, repo, signal, until,
};

/// How long `streams up` may take until it is ready: far beyond what a loaded machine needs.
const READY_MAX: Duration = Duration::from_secs(90);
/// How long it may take to end: a drain, then control and engine with a grace of their own.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Lines of each log that are told after a failure.
const LOG_LINES_MAX: usize = 40;

/// How a stack differs from the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it runs.
    pub namespace: Namespace,
    /// The address that its ports bind to.
    pub host: IpAddr,
    /// Packet backend of the engine.
    pub io: String,
    /// Shards of the engine.
    pub shards: usize,
    /// `[relay] open`.
    pub open: bool,
    /// Further lines of its `[engine]` section.
    pub engine: String,
    /// Further lines of streams.toml, which begin in `[relay]`.
    pub toml: String,
    /// The data directory; a fresh one when there is none.
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: Namespace::here(),
            host: Ipv4Addr::LOCALHOST.into(),
            io: "auto".to_owned(),
            shards: 2,
            open: false,
            engine: String::new(),
            toml: String::new(),
            data: None,
        }
    }
}

/// A running stack; ended when it drops, and its data directory removed.
#[derive(Debug)]
pub struct Stack {
    /// The data directory.
    pub data: PathBuf,
    /// Its ports.
    pub ports: Ports,
    /// `streams up`.
    pub up: Owned,
    /// The address that its ports are bound to.
    pub host: IpAddr,
    /// The command on its data directory.
    pub streams: Streams,
    config: PathBuf,
    printed: Arc<Mutex<String>>,
}

impl Stack {
    /// Starts a stack and waits until it is ready.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn start(options: &Options) -> Result<Self, HarnessError> {
        for needed in ["streams-control", "streams-engine"] {
            program(needed)?;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("streams-stack-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = options.data.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
        std::fs::create_dir_all(&data).map_err(HarnessError::file("make", &data))?;
        let ports = Ports::free()?;
        let config = data.join("streams.toml");
        std::fs::write(&config, configuration(options, &ports)).map_err(HarnessError::file("write", &config))?;
        let streams = Streams::new(&data, options.namespace.clone())?;
        let (up, printed) = launch(&streams, &config)?;
        let mut stack = Self { data, ports, up, host: options.host, streams, config, printed };
        stack.wait_ready()?;
        Ok(stack)
    }

    fn wait_ready(&mut self) -> Result<(), HarnessError> {
        let ended_early = |printed: String| HarnessError::Command { command: "streams up".to_owned(), reason: printed };
        let ready = until("`streams up` is ready", READY_MAX, || {
            // Asked first: what it printed before its end is here then.
            let ended = self.up.ended().is_some();
            let printed = self.printed();
            if printed.lines().any(|line| line.starts_with("ready")) {
                return Some(Ok(()));
            }
            ended.then_some(Err(printed))
        })?;
        ready.map_err(|printed| ended_early(printed.trim().to_owned()))
    }

    /// What `streams up` printed so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts `streams up` again on the same directory, after the former one ended.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn up_again(&mut self) -> Result<(), HarnessError> {
        (self.up, self.printed) = launch(&self.streams, &self.config)?;
        self.wait_ready()
    }

    /// The configuration that it runs with.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its engine as it is now.
    ///
    /// # Errors
    /// [`HarnessError::Rings`] when there is none.
    pub fn engine(&self) -> Result<Engine, HarnessError> {
        Engine::of(&self.data)
    }

    /// A value of credentials.toml.
    ///
    /// # Errors
    /// [`HarnessError::File`] when there is no such file, [`HarnessError::Output`] when it lacks the key.
    pub fn credential(&self, key: &'static str) -> Result<String, HarnessError> {
        let path = self.data.join("credentials.toml");
        let text = std::fs::read_to_string(&path).map_err(HarnessError::file("read", &path))?;
        let values = text.lines().filter_map(|line| line.split_once('='));
        let mut named = values.filter(|(name, _)| name.trim() == key);
        let value = named.next().map(|(_, value)| value.trim().trim_matches('"').to_owned());
        value.ok_or(HarnessError::Output(key))
    }

    /// The newest lines of a log, `engine.log` or `control.log`, of which `wanted` holds.
    pub fn log(&self, name: &str, lines_max: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        log_lines(&self.data, name, lines_max, wanted)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- streams up printed:\n{}", self.printed());
            for log in ["engine.log", "control.log"] {
                eprintln!("---- {log}:\n{}", self.log(log, LOG_LINES_MAX, |_| true).join("\n"));
            }
        }
        if self.up.ended().is_none() {
            self.up.signal(Signal::INT);
        }
        let _ = until("`streams up` ends", STOP_MAX, || self.up.ended());
        // What a killed launcher left behind: the engine has a session of its own.
        let data = self.data.to_string_lossy().into_owned();
        for name in ["streams-engine", "streams-control"] {
            processes_named(name, &data).into_iter().for_each(|pid| signal(pid, Signal::KILL));
        }
        if let Ok(run_dir) = streams_engine::run_dir(&self.data) {
            let _ = std::fs::remove_dir_all(run_dir);
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// The newest lines of a log of which `wanted` holds, oldest first.
pub(crate) fn log_lines(data: &Path, name: &str, lines_max: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let text = std::fs::read_to_string(data.join("log").join(name)).unwrap_or_default();
    let mut lines: Vec<String> =
        text.lines().rev().filter(|line| wanted(line)).take(lines_max).map(str::to_owned).collect();
    lines.reverse();
    lines
}

fn configuration(options: &Options, ports: &Ports) -> String {
    let Options { host, shards, io, engine, open, toml, .. } = options;
    let Ports { quic, rtmp, rtmps, srt, webrtc, https, http_dev } = ports;
    format!(
        "[server]\nhost = \"{host}\"\n[ports]\nquic = {quic}\nrtmp = {rtmp}\nrtmps = {rtmps}\nsrt = {srt}\nwebrtc = {webrtc}\nhttps = {https}\n\
         http_dev = {http_dev}\n\
         [engine]\nshards = {shards}\nio = \"{io}\"\n{engine}\n[relay]\nopen = {open}\n{toml}\n"
    )
}

fn launch(streams: &Streams, config: &Path) -> Result<(Owned, Arc<Mutex<String>>), HarnessError> {
    let mut command = streams.command(&["up", "--data"]);
    command.arg(&streams.data).arg("--config").arg(config).env("STREAMS_WEB_DIR", repo().join("sdk/web/dist"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(HarnessError::command("streams up"))?;
    let printed = Arc::new(Mutex::new(String::new()));
    for output in outputs(&mut child) {
        let printed = printed.clone();
        // Reads to the end whoever listens, for a full pipe would stop the stack.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
                printed.push_str(&line);
                printed.push('\n');
            }
        });
    }
    Ok((Owned::asked_to_end(child, Signal::INT, STOP_MAX), printed))
}

fn outputs(child: &mut Child) -> impl Iterator<Item = Box<dyn Read + Send>> {
    let stdout = child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>);
    [stdout, stderr].into_iter().flatten()
}
