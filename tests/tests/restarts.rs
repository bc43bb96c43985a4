//! Anything may be killed at any time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use streams_tests::{Encoder, Film, Options, Signal, Stack, binary, decode_errors, eventually, kill, probe};

fn frames(file: &std::path::Path) -> f64 {
    let found = probe(file);
    let streams = found["streams"].as_array().expect("streams").clone();
    let video = streams.iter().find(|stream| stream["codec_type"] == "video").expect("video");
    video["nb_read_frames"].as_str().and_then(|text| text.parse().ok()).expect("a count")
}

#[test]
fn viewers_stay_while_a_killed_encoder_comes_back() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("power-cut");
    let first = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let file = stack.data.join("out.mp4");
    std::thread::scope(|scope| {
        let (stack, url, file) = (&stack, &url, &file);
        let viewer = scope.spawn(move || stack.play(url, file, "14s"));
        eventually("the viewer plays", || file.metadata().is_ok_and(|meta| meta.len() > 200_000));
        first.kill_hard();
        stack.wait_status(&input, "reconnecting");
        let before = file.metadata().expect("written").len();
        let _second = Encoder::push(&input, Film::Gop2s);
        stack.wait_status(&input, "active");
        eventually("media flows again", || file.metadata().is_ok_and(|meta| meta.len() > before + 200_000));
        let output = viewer.join().expect("streams play ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn playback_goes_on_without_control_and_a_new_one_attaches() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("no-control");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let engine = stack.engine_pid();
    let file = stack.data.join("out.mp4");
    let mut viewer = streams_tests::Owned::new(
        stack.command(&["play", &url, "-o", file.to_str().expect("UTF-8"), "--for", "12s"]).spawn().expect("it starts"),
    );
    eventually("the viewer plays", || file.metadata().is_ok_and(|meta| meta.len() > 200_000));
    stack.kill_control();
    assert_eq!(stack.engine_pid(), engine, "the engine is the same process");
    stack.wait_status(&input, "active");
    assert!(viewer.wait().success(), "the viewer played through");
    assert!(frames(&file) >= 11.0 * 25.0, "{} frames in 12 s", frames(&file));
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_killed_engine_is_started_again_and_players_come_back_within_five_seconds() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("no-engine");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let file = stack.data.join("out.mp4");
    let mut viewer = streams_tests::Owned::new(
        stack.command(&["play", &url, "-o", file.to_str().expect("UTF-8"), "--for", "20s"]).spawn().expect("it starts"),
    );
    eventually("the viewer plays", || file.metadata().is_ok_and(|meta| meta.len() > 200_000));
    let old = stack.engine_pid();
    kill(old, Signal::KILL);
    let killed = Instant::now();
    let before = file.metadata().expect("written").len();
    eventually("another engine runs", || stack.engine_pid() != old);
    // A broadcaster's encoder connects again by itself; ffmpeg has to be started.
    let _again = Encoder::push(&input, Film::Gop2s);
    eventually("media flows again", || file.metadata().is_ok_and(|meta| meta.len() > before + 100_000));
    let away = killed.elapsed();
    println!("playing again after {away:?}");
    assert!(away < Duration::from_secs(5), "it took {away:?}");
    assert!(viewer.wait().success(), "the viewer went on by itself");
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_start_finds_an_engine_that_is_gone_or_just_ending() {
    let mut stack = Stack::start(&Options::default());
    let input = stack.live("no-wait");
    for signal in [Signal::KILL, Signal::TERM] {
        let _encoder = Encoder::push(&input, Film::Gop2s);
        stack.wait_status(&input, "active");
        // With a viewer an engine takes a moment to end.
        let url = stack.urls(&input.id).moqt;
        let _viewer = streams_tests::Owned::new(stack.command(&["play", &url]).spawn().expect("it starts"));
        eventually("the viewer is there", || stack.metric("streams_engine_sessions_open") >= 1.0);
        let old = stack.engine_pid();
        stack.kill_up();
        kill(old, signal);
        stack.up_again();
        assert_ne!(stack.engine_pid(), old, "{}", stack.printed());
    }
    let old = stack.engine_pid();
    stack.kill_up();
    let config = stack.data.join("streams.toml").to_str().expect("UTF-8").to_owned();
    let busy = ["up", "--config", &config, "--shards", "3"];
    fails_with_one_line(&stack, &busy, &format!("kill {old}"));
    // As it was told to: the same command works at once.
    kill(old, Signal::TERM);
    let mut up = streams_tests::Owned::new(stack.command(&busy).spawn().expect("it starts"));
    eventually("another engine runs", || stack.engine_pid() != old && stack.http_get("/readyz").contains("200 OK"));
    up.signal(Signal::INT);
    assert!(up.wait().success());
}

#[test]
fn a_closed_terminal_stops_everything() {
    let mut stack = Stack::start(&Options::default());
    let engine = stack.engine_pid();
    stack.up.signal(Signal::HUP);
    assert!(stack.up.wait().success(), "{}", stack.printed());
    let data = stack.data.to_str().expect("UTF-8");
    assert!(!streams_tests::processes_named("streams-engine", data).contains(&engine), "the engine has ended too");
}

#[test]
fn a_viewer_that_is_stopped_finishes_its_file_and_tells_what_it_is() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("stopped");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let (url, file) = (stack.urls(&input.id).moqt, stack.data.join("out.mp4"));
    let mut command = stack.command(&["play", &url, "--json", "-o", file.to_str().expect("UTF-8")]);
    let mut viewer = streams_tests::Owned::new(command.stdout(Stdio::piped()).spawn().expect("it starts"));
    eventually("the viewer plays", || file.metadata().is_ok_and(|meta| meta.len() > 400_000));
    viewer.signal(Signal::INT);
    assert!(viewer.wait().success());
    let summary: serde_json::Value =
        serde_json::from_reader(viewer.child().stdout.take().expect("piped")).expect("one JSON object");
    assert_eq!(summary["written_bytes"], file.metadata().expect("written").len());
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}

fn fails_with_one_line(stack: &Stack, arguments: &[&str], wanted: &str) {
    let output = stack.command(arguments).output().expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(words.trim().lines().count() == 1 && words.contains(wanted), "{arguments:?} says: {words}");
}

#[test]
fn a_second_start_is_refused_with_one_clear_line() {
    let stack = Stack::start(&Options::default());
    let data = stack.data.to_str().expect("UTF-8").to_owned();
    fails_with_one_line(&stack, &["up", "--data", &data], "already runs");
    // Another directory, the same ports.
    let other = stack.data.join("other");
    std::fs::create_dir_all(&other).expect("made");
    let config = stack.data.join("streams.toml").to_str().expect("UTF-8").to_owned();
    let other_text = other.to_str().expect("UTF-8").to_owned();
    fails_with_one_line(&stack, &["up", "--data", &other_text, "--config", &config], "in use");
    // The same as another engine of this user would see it: the control process is asked by nobody.
    let engine = std::process::Command::new(binary("streams-engine"))
        .args(["--data", &other_text, "--port", &stack.ports.quic.to_string(), "--rtmp-port", "1"])
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&engine.stderr).into_owned();
    assert!(!engine.status.success() && words.contains("in use"), "{words}");
    fails_with_one_line(&stack, &["up", "--data", "/proc/streams"], "/proc/streams");
}

#[test]
fn control_is_started_again_with_one_line_and_given_up_after_five_deaths_within_a_minute() {
    let mut stack = Stack::start(&Options::default());
    let engine = stack.engine_pid();
    let input = stack.live("survivor");
    for death in 1..=4 {
        stack.kill_control();
        assert_eq!(stack.engine_pid(), engine, "the engine is the same process");
        let told = stack.printed().lines().filter(|line| line.contains("control stopped")).count();
        assert_eq!(told, death, "{}", stack.printed());
    }
    assert_eq!(stack.status(&input), "idle", "it serves what it served before");
    kill(stack.control_pid(), Signal::KILL);
    assert_eq!(stack.up.wait().code(), Some(1));
    let last = || stack.printed().lines().last().unwrap_or_default().to_owned();
    eventually("it says why", || last().contains("5 times within a minute"));
    assert!(last().contains(&format!("the engine (pid {engine}) keeps serving")), "{}", stack.printed());
    stack.up_again();
    assert_eq!(stack.engine_pid(), engine, "the next one attaches");
}

#[test]
fn an_engine_that_keeps_dying_is_given_up_with_words() {
    let mut stack = Stack::start(&Options::default());
    for _ in 0..4 {
        let old = stack.engine_pid();
        kill(old, Signal::KILL);
        eventually("another engine runs", || stack.engine_pid() != old);
    }
    kill(stack.engine_pid(), Signal::KILL);
    assert_eq!(stack.up.wait().code(), Some(1));
    eventually("it says why", || stack.printed().contains("the engine stopped 5 times within a minute"));
}
