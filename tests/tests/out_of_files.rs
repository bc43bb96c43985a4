//! An engine without file descriptors says so now and then, and serves again once it has some.

use std::collections::HashSet;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use streams_tests::{Encoder, Film, Options, Stack, eventually};

/// Sets how many files a process may have open; the hard limit stays.
fn limit(pid: u32, files: &str) {
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).status();
    assert!(set.expect("prlimit runs").success());
}

/// The lowest number that no open file of the process has: what a file that it opens next would get.
///
/// The kernel compares numbers with the limit, not how many are open: with a limit of their count, every hole below it is one more file.
fn lowest_free(pid: u32) -> u32 {
    let names = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let open: HashSet<u32> = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("fewer than 2^32 are open")
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
    limit(engine, &lowest_free(engine).to_string());
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
