//! An engine without file descriptors says so now and then, and serves again once it has some.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use streams_tests::{Encoder, Film, Options, Stack, eventually};

/// Sets how many files a process may have open; the hard limit stays.
fn limit(pid: u32, files: &str) {
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).status();
    assert!(set.expect("prlimit runs").success());
}

fn complaints(stack: &Stack) -> usize {
    let log = std::fs::read_to_string(stack.data.join("log/engine.log")).expect("a log");
    log.lines().filter(|line| line.contains("could not be accepted")).count()
}

#[test]
fn without_descriptors_the_log_has_one_line_in_ten_seconds_and_encoders_come_in_afterwards() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("patient");
    let engine = stack.engine_pid();
    let open = std::fs::read_dir(format!("/proc/{engine}/fd")).expect("it runs").count();
    limit(engine, &open.to_string());
    let waiting: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(("127.0.0.1", stack.ports.rtmp)).expect("the kernel takes it")).collect();
    eventually("the log says why", || complaints(&stack) > 0);
    let since = Instant::now();
    // What is tried again every 50 ms would be some sixty lines a shard by then.
    while since.elapsed() < Duration::from_secs(3) {
        assert!(complaints(&stack) <= 1, "{} lines in {:?}", complaints(&stack), since.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    limit(engine, "4096");
    drop(waiting);
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
}
