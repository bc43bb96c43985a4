//! The program `streams-control` as a launcher starts it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use streams_contract::{Event, Protocol};
use streams_control::credentials::Credentials;

use crate::engine::FakeEngine;
use crate::server::Scratch;

const CONTROL: &str = env!("CARGO_BIN_EXE_streams-control");

/// A control process, ended with the test.
struct Control {
    child: Child,
    http: String,
    scratch: Scratch,
}

impl Control {
    fn start(change: impl FnOnce(&mut Command)) -> Self {
        let scratch = Scratch::new();
        // The kernel gives two ports that are free now; control binds them a moment later.
        let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [https, http] = ports.map(|listener| listener.local_addr().unwrap().port().to_string());
        let mut command = Command::new(CONTROL);
        command
            .arg("--data")
            .arg(scratch.path())
            .arg("--log-file")
            .arg(scratch.dir.log("control.log"))
            .env("STREAMS_PORTS_HTTPS", https)
            .env("STREAMS_PORTS_HTTP_DEV", &http)
            .stdin(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        let control = Self { child, http: format!("127.0.0.1:{http}"), scratch };
        let deadline = Instant::now() + Duration::from_secs(30);
        while control.ask("GET", "/healthz", "").is_none() {
            assert!(Instant::now() < deadline, "control does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        control
    }

    /// The body of an answer; `None` while nobody listens.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<Value> {
        let mut socket = TcpStream::connect(&self.http).ok()?;
        let key = Credentials::read(&self.scratch.dir).ok()??.api_key;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_second_control_process_on_the_same_directory_is_refused() {
    let control = Control::start(|_| ());
    let output = Command::new(CONTROL).arg("--data").arg(control.scratch.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.trim().lines().count()), (Some(1), 1), "one clear line: {said}");
    assert!(said.contains(&control.child.id().to_string()), "{said}");
}

#[test]
fn a_terminal_that_is_gone_does_not_end_control() {
    let mut control = Control::start(|command| {
        // As under `streams up`: with a launcher control tells the terminal about encoders.
        command.arg("--launcher").arg(std::process::id().to_string()).stderr(Stdio::piped());
    });
    drop(control.child.stderr.take());
    let created = control.ask("POST", "/v1/live-inputs", "{\"name\":\"t\"}").unwrap();
    let mut engine = FakeEngine::start(&control.scratch.dir.run_dir());
    let log = control.scratch.dir.log("control.log");
    let logged = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !std::fs::read_to_string(&log).unwrap().contains(what) {
            assert!(Instant::now() < deadline, "{what}: {}", std::fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    logged("joined the engine's workspace");
    let input = created["data"]["id"].as_str().unwrap().to_owned();
    for peer in ["127.0.0.1:7001", "127.0.0.1:7002"] {
        let (protocol, peer) = (Protocol::Rtmp, peer.to_owned());
        engine.event(0, &Event::IngestUp { input: input.clone(), shard: 0, protocol, peer: peer.clone() });
        logged(&peer);
    }
    assert!(control.child.try_wait().unwrap().is_none());
}
