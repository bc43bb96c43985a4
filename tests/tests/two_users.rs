//! Control and engine as two users of one group, in the folders that `deploy/` makes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use streams_tests::{Owned, Ports, Signal, binary, eventually, repo};

/// Users that no machine has: their numbers stand for their names, and the engine's for the group `streams` as well.
const CONTROL: u32 = 64_201;
const ENGINE: u32 = 64_202;

fn id_of(name: &str) -> u32 {
    match name {
        "root" => 0,
        "streams" => ENGINE,
        "streams-control" => CONTROL,
        other => panic!("{other} is no user of deploy/sysusers.d"),
    }
}

/// A folder of this test, removed with what is in it.
struct Place {
    root: PathBuf,
    run_dir: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_dir_all(&self.run_dir);
    }
}

impl Place {
    fn data(&self) -> PathBuf {
        self.root.join("var/lib/streams/data")
    }

    /// Makes what `deploy/tmpfiles.d` names, below this folder; the shared memory is that of this data directory.
    fn make() -> Self {
        let root = std::env::temp_dir().join(format!("streams-two-users-{}", std::process::id()));
        fs::create_dir_all(root.join("var/lib/streams/data")).expect("made");
        let run_dir = streams_harness::Engine::run_dir(&root.join("var/lib/streams/data")).expect("there");
        let place = Self { root, run_dir };
        let text = fs::read_to_string(repo().join("deploy/tmpfiles.d/streams.conf")).expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, path, mode, user, group] = words[..] else { panic!("{line}") };
            assert_eq!(kind, "d", "{line}");
            let path = match path.strip_prefix("/dev/shm/") {
                Some(_) => place.run_dir.clone(),
                None => place.root.join(path.trim_start_matches('/')),
            };
            fs::create_dir_all(&path).expect("made");
            chown(&path, Some(id_of(user)), Some(id_of(group))).expect("root may");
            let mode = u32::from_str_radix(mode, 8).expect("octal");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        place
    }

    /// Starts a program as a user of the group `streams`, with the mask of the units.
    fn start(&self, program: &str, user: u32, arguments: &[String]) -> Owned {
        // The checkout may be closed to others.
        let copy = self.root.join(program);
        fs::copy(binary(program), &copy).expect("copied");
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0077; exec \"$@\"", "sh", "setpriv", "--clear-groups"]);
        command.args([format!("--reuid={user}"), format!("--regid={ENGINE}")]);
        command.arg(copy).arg("--data").arg(self.data()).args(arguments).current_dir("/");
        Owned::new(command.spawn().expect("it starts"))
    }
}

/// What the engine's user may read and write is what it needs.
fn the_engine_has_what_it_needs(place: &Place) {
    let of_engine = |script: &str| {
        let mut shell = Command::new("setpriv");
        shell.args(["--clear-groups", &format!("--reuid={ENGINE}"), &format!("--regid={ENGINE}"), "sh", "-c", script]);
        shell.current_dir("/").output().expect("it runs").status.success()
    };
    let data = place.data().display().to_string();
    for readable in ["tls/cert.pem", "tls/key.pem"] {
        assert!(of_engine(&format!("cat {data}/{readable} > /dev/null")), "{readable}");
    }
    for secret in ["streams.db", "secret.key", "credentials.toml"] {
        assert!(Path::new(&format!("{data}/{secret}")).exists(), "{secret}");
        assert!(!of_engine(&format!("cat {data}/{secret} > /dev/null")), "{secret}");
    }
    assert!(of_engine(&format!("touch {data}/engine/groups-may-be-made-here")));
    let run_dir = place.run_dir.display().to_string();
    for forbidden in [
        format!("touch {data}/mine"),
        format!("touch {data}/tls/mine"),
        format!("mv {data}/tls {data}/tls2"),
        format!("touch {data}/../mine"),
        format!("touch {data}/../../streams-configure/mine"),
        format!("mv {run_dir}/control.current {run_dir}/mine"),
        format!("rm -f {run_dir}/control.current"),
        format!("cp /dev/null {run_dir}/control.current"),
    ] {
        assert!(!of_engine(&forbidden), "{forbidden}");
    }
}

#[test]
fn two_users_serve_together_and_the_engine_s_has_no_secret_of_control_s() {
    let test = "two_users_serve_together_and_the_engine_s_has_no_secret_of_control_s";
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        assert!(std::env::var_os("CI").is_none(), "{test}: needs root");
        eprintln!("NOT RUN: {test}: needs root");
        return;
    }
    let place = Place::make();
    let Ports { quic, rtmp, rtmps, srt, webrtc, https, http_dev: http } = Ports::free().expect("free ports");
    let config = place.root.join("etc/streams/streams.toml");
    let text = format!(
        "[ports]\nquic = {quic}\nrtmp = {rtmp}\nrtmps = {rtmps}\nsrt = {srt}\nwebrtc = {webrtc}\nhttps = {https}\nhttp_dev = {http}\n[engine]\nshards = 2\nio = \"udp\"\n"
    );
    fs::write(&config, text).expect("written");
    let config = ["--config".to_owned(), config.to_str().expect("UTF-8").to_owned()];
    let mut control = place.start("streams-control", CONTROL, &config);
    let mut engine = place.start("streams-engine", ENGINE, &config);
    let cli = |arguments: &[&str]| {
        Command::new(binary("streams")).args(arguments).arg("--data").arg(place.data()).output().expect("it runs")
    };
    eventually("both serve", || {
        assert_eq!((control.ended(), engine.ended()), (None, None), "neither ends");
        ready(http)
    });
    let made = cli(&["live", "create", "--name", "two"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    the_engine_has_what_it_needs(&place);

    // Each is started again by itself.
    engine.signal(Signal::KILL);
    engine.wait();
    engine = place.start("streams-engine", ENGINE, &config);
    control.signal(Signal::KILL);
    control.wait();
    control = place.start("streams-control", CONTROL, &config);
    eventually("both serve again", || {
        assert_eq!((control.ended(), engine.ended()), (None, None), "neither ends");
        ready(http)
    });
}

/// Whether control answers that it and every shard run.
fn ready(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    socket.write_all(request.as_bytes()).is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn the_units_name_two_users_of_one_data_directory() {
    let unit = |name: &str| fs::read_to_string(repo().join("deploy/systemd").join(name)).expect("a unit");
    let user = |text: &str| text.lines().find_map(|line| line.strip_prefix("User=").map(str::to_owned));
    let (control, engine) = (unit("streams-control.service"), unit("streams-engine.service"));
    assert_eq!((user(&control).as_deref(), user(&engine).as_deref()), (Some("streams-control"), Some("streams")));
    for text in [&control, &engine] {
        assert!(text.contains("--data /var/lib/streams/data "), "{text}");
    }
}
