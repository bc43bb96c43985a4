//! One `streams up` for one test: [`streams_harness::Stack`], of which nothing may fail.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use streams_harness::{self as harness, Engine, Input, Namespace, Options, Signal, Urls, processes_named};

use crate::{eventually, eventually_some, kill};

/// A binary that was built beside this test.
pub fn binary(name: &str) -> PathBuf {
    harness::program(name).unwrap_or_else(|error| panic!("{error}"))
}

/// A running stack; ended when it drops.
pub struct Stack(harness::Stack);

impl Deref for Stack {
    type Target = harness::Stack;

    fn deref(&self) -> &harness::Stack {
        &self.0
    }
}

impl DerefMut for Stack {
    fn deref_mut(&mut self) -> &mut harness::Stack {
        &mut self.0
    }
}

impl Stack {
    /// Starts a stack and waits until it is ready.
    pub fn start(options: &Options) -> Self {
        Self(harness::Stack::start(options).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Starts `streams up` again on the same directory, after the former one ended.
    pub fn up_again(&mut self) {
        self.0.up_again().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts `streams up` on the same directory, where it must not come up, and gives what it said.
    pub fn up_refused(&self) -> String {
        let config = self.config().to_str().expect("a UTF-8 path");
        let output = self.cli(&["up", "--config", config]);
        assert!(!output.status.success(), "it started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A `streams` command on this stack's data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.streams.command(arguments)
    }

    /// The same out of a namespace that may be another one.
    pub fn command_from(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        self.streams.command_from(namespace, arguments)
    }

    /// Runs a `streams` command.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.streams.run(arguments).expect("the streams command runs")
    }

    /// Runs a `streams` command that must succeed, with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.streams.json(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a live input of one kind. Its URL for RTMP is empty where it takes none.
    pub fn live_of(&self, name: &str, kind: &str) -> Input {
        let made = self.json(&["live", "create", "--name", name, "--ingest", kind]);
        let text = |pointer: &str| made.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Input { id: text("/id"), key: text("/stream_key"), rtmp: text("/urls/rtmp") }
    }

    /// Makes a live input that takes every encoder.
    pub fn live(&self, name: &str) -> Input {
        self.streams.live_input(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `idle`, `active`, `reconnecting` or `disabled`.
    pub fn status(&self, input: &Input) -> String {
        self.streams.status(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits for a status.
    pub fn wait_status(&self, input: &Input, wanted: &str) {
        eventually(&format!("{} becomes {wanted}", input.id), || self.status(input) == wanted);
    }

    /// URLs with a fresh token of an hour.
    pub fn urls(&self, id: &str) -> Urls {
        self.streams.urls(id).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `streams play` into a file.
    pub fn play(&self, url: &str, file: &Path, time: &str) -> Output {
        self.play_from(&self.streams.namespace, url, file, time)
    }

    /// The same out of a namespace that may be another one.
    pub fn play_from(&self, namespace: &Namespace, url: &str, file: &Path, time: &str) -> Output {
        let file = file.to_str().expect("a UTF-8 path");
        let mut command = self.command_from(namespace, &["play", url, "-o", file, "--for", time]);
        harness::output_within(&mut command, harness::COMMAND_TIME_MAX)
            .unwrap_or_else(|error| panic!("streams play: {error}"))
    }

    /// The folder of the shared memory.
    pub fn run_dir(&self) -> PathBuf {
        Engine::run_dir(&self.data).expect("the data directory is there")
    }

    /// The engine's process id, as its shards tell it.
    pub fn engine_pid(&self) -> u32 {
        eventually_some("the engine tells its pid", || Some(self.engine().ok()?.pid()).filter(|pid| *pid != 0))
    }

    /// The control process's id.
    pub fn control_pid(&self) -> u32 {
        let data = self.data.to_str().expect("a UTF-8 path");
        eventually_some("the control process runs", || processes_named("streams-control", data).first().copied())
    }

    /// Kills the control process and waits until `streams up` has started another one that serves.
    pub fn kill_control(&self) {
        let old = self.control_pid();
        kill(old, Signal::KILL);
        eventually("streams up starts control again", || {
            self.control_pid() != old && self.cli(&["live", "list"]).status.success()
        });
    }

    /// Kills `streams up`, and control with it; the engine goes on alone.
    pub fn kill_up(&mut self) {
        self.up.signal(Signal::KILL);
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
            self.streams.namespace.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port))).expect("control listens");
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
    pub fn credential(&self, key: &'static str) -> String {
        self.0.credential(key).unwrap_or_else(|error| panic!("{error}"))
    }
}
