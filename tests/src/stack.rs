//! One `streams up` for one test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use streams_contract::{current_path, names};
use streams_rings::{Access, Workspace};

use crate::{Namespace, Owned, eventually, eventually_some, processes_named};

/// The checkout that is tested.
pub fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout").to_owned()
}

/// Where the binaries are that were built beside this test.
pub(crate) fn binary_folder() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned()
}

/// A binary that was built beside this test.
pub fn binary(name: &str) -> PathBuf {
    let path = binary_folder().join(name);
    assert!(path.exists(), "{} is not built; run `cargo build --workspace` first", path.display());
    path
}

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
    /// Further lines of streams.toml.
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

/// Ports of one stack.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// UDP: QUIC.
    pub quic: u16,
    /// TCP: RTMP.
    pub rtmp: u16,
    /// TCP: API with TLS.
    pub https: u16,
    /// TCP: API and player page without TLS.
    pub http_dev: u16,
}

impl Ports {
    fn free() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let tcp: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |index: usize| tcp[index].local_addr().expect("bound").port();
        Self { quic: udp.local_addr().expect("bound").port(), rtmp: port(0), https: port(1), http_dev: port(2) }
    }
}

/// A live input as `streams live create` returned it.
#[derive(Clone, Debug)]
pub struct Input {
    /// `lv_…`
    pub id: String,
    /// The stream key.
    pub key: String,
    /// `rtmp://HOST:PORT/live`
    pub rtmp: String,
}

impl Input {
    /// The URL that ffmpeg takes.
    pub fn rtmp_with_key(&self) -> String {
        format!("{}/{}", self.rtmp, self.key)
    }
}

/// What `streams playback-url` returned.
#[derive(Clone, Debug)]
pub struct Urls {
    /// Raw QUIC.
    pub moqt: String,
    /// WebTransport.
    pub webtransport: String,
    /// Player page.
    pub watch: String,
    /// The token in all of them.
    pub token: String,
    /// `stream/<org>/<id>`
    pub namespace: Value,
}

/// A running stack; ended when it drops.
pub struct Stack {
    /// The data directory.
    pub data: PathBuf,
    /// Its ports.
    pub ports: Ports,
    /// `streams up`.
    pub up: Owned,
    /// The address that its ports are bound to.
    pub host: IpAddr,
    namespace: Namespace,
    config: PathBuf,
    printed: Arc<Mutex<String>>,
}

impl Stack {
    /// Starts a stack and waits until it is ready.
    pub fn start(options: &Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("streams-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = options.data.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
        std::fs::create_dir_all(&data).expect("a data directory");
        let ports = Ports::free();
        let config = data.join("streams.toml");
        let text = format!(
            "[server]\nhost = \"{}\"\n[ports]\nquic = {}\nrtmp = {}\nhttps = {}\nhttp_dev = {}\n[engine]\nshards = {}\nio = \"{}\"\n{}\n\
             [relay]\nopen = {}\n{}\n",
            options.host,
            ports.quic,
            ports.rtmp,
            ports.https,
            ports.http_dev,
            options.shards,
            options.io,
            options.engine,
            options.open,
            options.toml
        );
        std::fs::write(&config, text).expect("a configuration");
        let namespace = options.namespace.clone();
        let (up, printed) = launch(&namespace, &data, &config);
        let host = options.host;
        let mut stack = Self { data, ports, up, host, namespace, config, printed };
        stack.wait_ready();
        stack
    }

    fn wait_ready(&mut self) {
        let printed = self.printed.clone();
        eventually("streams up prints ready", || {
            let text = printed.lock().expect("not poisoned").clone();
            if let Some(status) = self.up.ended() {
                panic!("streams up ended with {status}: {text}");
            }
            text.lines().any(|line| line.starts_with("ready"))
        });
    }

    /// What `streams up` printed so far.
    pub fn printed(&self) -> String {
        self.printed.lock().expect("not poisoned").clone()
    }

    /// Starts `streams up` again on the same directory, after the former one ended.
    pub fn up_again(&mut self) {
        let (up, printed) = launch(&self.namespace, &self.data, &self.config);
        self.up = up;
        self.printed = printed;
        self.wait_ready();
    }

    /// Starts `streams up` on the same directory, where it must not come up, and gives what it said.
    pub fn up_refused(&self) -> String {
        let config = self.config.to_str().expect("a UTF-8 path");
        let output = self.cli(&["up", "--config", config]);
        assert!(!output.status.success(), "it started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A `streams` command on this stack's data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_from(&self.namespace, arguments)
    }

    /// The same out of a namespace that may be another one.
    pub fn command_from(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        let mut command = namespace.command(binary("streams"));
        command.args(arguments).env("STREAMS_DATA", &self.data).stdin(Stdio::null());
        command
    }

    /// Runs a `streams` command.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the streams command runs")
    }

    /// Runs a `streams` command that must succeed, with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cli(&[arguments, &["--json"]].concat());
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "streams {arguments:?}: {complaints}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("streams {arguments:?} prints JSON: {error}"))
    }

    /// Makes a live input that takes RTMP.
    pub fn live(&self, name: &str) -> Input {
        let created = self.json(&["live", "create", "--name", name, "--ingest", "rtmp"]);
        Input { id: text(&created["id"]), key: text(&created["stream_key"]), rtmp: text(&created["urls"]["rtmp"]) }
    }

    /// `idle`, `active`, `reconnecting` or `disabled`.
    pub fn status(&self, input: &Input) -> String {
        text(&self.json(&["live", "get", &input.id])["status"])
    }

    /// Waits for a status.
    pub fn wait_status(&self, input: &Input, wanted: &str) {
        eventually(&format!("{} becomes {wanted}", input.id), || self.status(input) == wanted);
    }

    /// URLs with a fresh token of an hour.
    pub fn urls(&self, id: &str) -> Urls {
        let urls = self.json(&["playback-url", id]);
        Urls {
            moqt: text(&urls["moqt"]),
            webtransport: text(&urls["webtransport"]),
            watch: text(&urls["watch"]),
            token: text(&urls["token"]),
            namespace: urls["namespace"].clone(),
        }
    }

    /// `streams play` into a file.
    pub fn play(&self, url: &str, file: &Path, time: &str) -> Output {
        self.play_from(&self.namespace, url, file, time)
    }

    /// The same out of a namespace that may be another one.
    pub fn play_from(&self, namespace: &Namespace, url: &str, file: &Path, time: &str) -> Output {
        let file = file.to_str().expect("a UTF-8 path");
        let mut command = self.command_from(namespace, &["play", url, "-o", file, "--for", time]);
        command.output().expect("the streams command runs")
    }

    /// The folder of the shared memory.
    pub fn run_dir(&self) -> PathBuf {
        streams_engine::run_dir(&self.data).expect("the data directory is there")
    }

    /// The engine's process id, as its shards tell it.
    pub fn engine_pid(&self) -> u32 {
        eventually_some("the engine tells its pid", || {
            let shards = Workspace::join(current_path(&self.run_dir(), names::SHARDS), Access::ReadOnly).ok()?;
            Some(shards.cnc(&names::shard(0)).ok()?.pid()).filter(|pid| *pid != 0)
        })
    }

    /// The control process's id.
    pub fn control_pid(&self) -> u32 {
        let data = self.data.to_str().expect("a UTF-8 path");
        eventually_some("the control process runs", || processes_named("streams-control", data).first().copied())
    }

    /// Kills the control process and waits until `streams up` has started another one that serves.
    pub fn kill_control(&self) {
        let old = self.control_pid();
        crate::kill(old, libc::SIGKILL);
        eventually("streams up starts control again", || {
            self.control_pid() != old && self.cli(&["live", "list"]).status.success()
        });
    }

    /// Kills `streams up`, and control with it; the engine goes on alone.
    pub fn kill_up(&mut self) {
        self.up.signal(libc::SIGKILL);
        self.up.wait();
        let data = self.data.to_str().expect("a UTF-8 path");
        eventually("control ends with streams up", || processes_named("streams-control", data).is_empty());
    }

    /// One metric summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http_get("/metrics");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let wanted = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
        wanted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// GET on the dev port with the API key.
    pub fn http_get(&self, path: &str) -> String {
        self.http_request("GET", path, "")
    }

    /// A request on the dev port with the API key; the whole answer.
    pub fn http_request(&self, method: &str, path: &str, body: &str) -> String {
        let port = self.ports.http_dev;
        let mut socket =
            self.namespace.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port))).expect("control listens");
        let key = self.credential("api_key");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("text");
        answer
    }

    /// A value of credentials.toml.
    pub fn credential(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.data.join("credentials.toml")).expect("credentials");
        let line =
            text.lines().find(|line| line.split('=').next().map(str::trim) == Some(key)).expect("the key is there");
        line.split_once('=').expect("key = value").1.trim().trim_matches('"').to_owned()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- streams up printed:\n{}", self.printed());
            for log in ["engine.log", "control.log"] {
                let text = std::fs::read_to_string(self.data.join("log").join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(40).collect();
                eprintln!("---- {log}:");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        self.up.signal(libc::SIGINT);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
        while self.up.ended().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // What a killed launcher left behind.
        let data = self.data.to_str().unwrap_or_default().to_owned();
        for name in ["streams-engine", "streams-control"] {
            processes_named(name, &data).into_iter().for_each(|pid| crate::kill(pid, libc::SIGKILL));
        }
        if let Ok(run_dir) = streams_engine::run_dir(&self.data) {
            let _ = std::fs::remove_dir_all(run_dir);
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn launch(namespace: &Namespace, data: &Path, config: &Path) -> (Owned, Arc<Mutex<String>>) {
    let mut child = namespace
        .command(binary("streams"))
        .args(["up", "--data"])
        .arg(data)
        .arg("--config")
        .arg(config)
        .env("STREAMS_WEB_DIR", repo().join("sdk/web/dist"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("streams up starts");
    let printed = Arc::new(Mutex::new(String::new()));
    let outputs: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
    for output in outputs {
        let printed = printed.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut printed = printed.lock().expect("not poisoned");
                printed.push_str(&line);
                printed.push('\n');
            }
        });
    }
    (Owned::new(child), printed)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a string is expected, not {value}")).to_owned()
}
