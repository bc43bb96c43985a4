//! The programs as a person runs them: `streams` against a real control process, over TLS with its pinned certificate.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;

const STREAMS: &str = env!("CARGO_BIN_EXE_streams");

fn streams(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(STREAMS);
    command.args(args).arg("--data").arg(data).env_remove("STREAMS_API").env_remove("STREAMS_API_KEY");
    command.stdin(Stdio::null()).output().unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one clear line: {said}");
    said
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A control process, ended with the test.
struct Control {
    child: Child,
    scratch: Scratch,
}

impl Control {
    fn start() -> Self {
        let scratch = Scratch::new();
        // The kernel gives two ports that are free now; control binds them a moment later.
        let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [https, http] = ports.map(|listener| listener.local_addr().unwrap().port().to_string());
        let program = Path::new(STREAMS).with_file_name("streams-control");
        assert!(program.exists(), "{} is not built; run `cargo build --workspace` first", program.display());
        let child = Command::new(program)
            .arg("--data")
            .arg(scratch.path())
            .arg("--log-file")
            .arg(scratch.dir.log("control.log"))
            .env("STREAMS_PORTS_HTTPS", https)
            .env("STREAMS_PORTS_HTTP_DEV", http)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let control = Self { child, scratch };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !streams(control.scratch.path(), &["live", "list"]).status.success() {
            assert!(Instant::now() < deadline, "control does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        control
    }

    fn streams(&self, args: &[&str]) -> Output {
        streams(self.scratch.path(), args)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_live_input_lives_through_the_command_and_leaves_no_secret_in_the_log() {
    let control = Control::start();
    let created = json(&control.streams(&["live", "create", "--name", "t", "--ingest", "rtmp", "--json"]));
    for key in ["id", "name", "ingest", "status", "namespace", "stream_key", "srt_passphrase", "urls"] {
        assert!(!created[key].is_null(), "{key} is missing in {created}");
    }
    for key in ["rtmp", "rtmps", "srt", "whip", "moqt", "webtransport"] {
        assert!(created["urls"].get(key).is_some(), "urls.{key} is missing in {created}");
    }
    let id = created["id"].as_str().unwrap();
    assert_eq!(json(&control.streams(&["live", "get", id, "--json"]))["status"], "idle");
    assert_eq!(json(&control.streams(&["live", "list", "--json"]))["data"][0]["id"], *id);
    let rotated = json(&control.streams(&["live", "rotate-key", id, "--json"]));
    assert_ne!(rotated["stream_key"], created["stream_key"]);
    assert_eq!(json(&control.streams(&["live", "disable", id, "--json"]))["status"], "disabled");
    assert_eq!(json(&control.streams(&["live", "enable", id, "--json"]))["status"], "idle");
    let urls = json(&control.streams(&["playback-url", id, "--ttl", "30s", "--json"]));
    let mut keys: Vec<_> = urls.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let known = ["certificate_sha256", "expires_at", "hls", "moqt", "namespace", "token", "watch", "webtransport"];
    assert_eq!(keys, known);
    let key = json(&control.streams(&["signing-key", "create", "--json"]));
    assert!(control.streams(&["signing-key", "revoke", key["id"].as_str().unwrap()]).status.success());
    let text = control.streams(&["live", "create", "--name", "text"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("Push with OBS"));

    let secrets = [&created["stream_key"], &rotated["stream_key"], &urls["token"], &created["srt_passphrase"]];
    let log = std::fs::read_to_string(control.scratch.dir.log("control.log")).unwrap();
    assert!(log.contains("/v1/live-inputs"), "{log}");
    for secret in secrets {
        assert!(!log.contains(secret.as_str().unwrap()));
    }
    assert!(control.streams(&["live", "delete", id]).status.success());
    assert!(refused(&control.streams(&["live", "get", id]), 3).contains(id));
    assert!(refused(&control.streams(&["live", "list", "--api-key", "ak_wrong"]), 4).contains("API key"));
    assert!(refused(&control.streams(&["live", "create", "--name", ""]), 2).contains("name"));
    for (kind, push) in [
        ("rtmp", "-f flv rtmp://"),
        ("srt", "-f mpegts 'srt://"),
        ("whip", "WHIP: server"),
        ("fmp4", "streams publish 'moqt://"),
    ] {
        let made = control.streams(&["live", "create", "--name", "s", "--ingest", kind]);
        let said = String::from_utf8_lossy(&made.stdout);
        assert!(made.status.success() && said.contains(push), "{said}");
    }
    assert_eq!(control.streams(&["live", "create", "--name", "s", "--ingest", "hls"]).status.code(), Some(2));
}

#[test]
fn without_a_server_the_command_says_what_to_start() {
    let scratch = Scratch::new();
    assert!(refused(&streams(scratch.path(), &["live", "list"]), 5).contains("streams up"));
    let args = ["live", "list", "--api", "https://127.0.0.1:1", "--api-key", "x"];
    assert!(refused(&streams(scratch.path(), &args), 5).contains("https://127.0.0.1:1"));
    assert!(
        refused(&streams(scratch.path(), &["live", "list", "--api", "nonsense", "--api-key", "x"]), 2)
            .contains("nonsense")
    );
    assert_eq!(streams(scratch.path(), &["live", "create"]).status.code(), Some(2));
}

#[test]
fn up_names_a_taken_port_a_held_directory_and_one_that_cannot_be_written() {
    let scratch = Scratch::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = scratch.path().join("streams.toml");
    std::fs::write(&config, format!("[ports]\nquic = {port}\n")).unwrap();
    let said = refused(&streams(scratch.path(), &["up"]), 1);
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("ports.quic"), "{said}");

    std::fs::write(&config, "[ports]\nquic = 4433\nrmtp = 1\n").unwrap();
    let said = refused(&streams(scratch.path(), &["up"]), 2);
    assert!(said.contains("streams.toml:3") && said.contains("ports.rtmp"), "{said}");
    std::fs::remove_file(&config).unwrap();

    let _held = scratch.dir.lock("up.lock", "a test").unwrap();
    let said = refused(&streams(scratch.path(), &["up"]), 1);
    assert!(said.contains("already runs") && said.contains(&std::process::id().to_string()), "{said}");

    let said = refused(&streams(Path::new("/proc/streams"), &["up"]), 1);
    assert!(said.contains("/proc/streams") && said.contains("--data"), "{said}");
}

#[test]
fn print_config_shows_the_configuration_that_would_be_used() {
    let scratch = Scratch::new();
    let output = streams(scratch.path(), &["up", "--print-config", "--shards", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let config = streams_config::Config::parse(&text, Path::new("printed")).unwrap();
    assert_eq!((config.engine.shards, config.server.data.as_path()), (3, scratch.path()));

    let printed = json(&streams(scratch.path(), &["up", "--print-config", "--shards", "3", "--json"]));
    assert_eq!((&printed["engine"]["shards"], &printed["relay"]["open"]), (&3.into(), &false.into()));
    assert_eq!(printed["server"]["data"], *scratch.path().to_str().unwrap());
}
