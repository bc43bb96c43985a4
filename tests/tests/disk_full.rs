//! A full disk: said so, nothing half done, and broadcasts go on.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use streams_tests::{Encoder, Film, Options, Signal, Stack, Watcher, eventually_some};

/// A small disk of its own; `None`, said by name, where it cannot be mounted.
struct Disk(PathBuf);

impl Disk {
    fn mount(test: &str) -> Option<Self> {
        if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            assert!(std::env::var_os("CI").is_none(), "{test}: needs root");
            eprintln!("NOT RUN: {test}: needs root");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("streams-disk-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "streams-test"])
            .arg(&folder)
            .output()
            .expect("mount runs");
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
            let _ = fs::remove_dir(&folder);
            assert!(std::env::var_os("CI").is_none(), "{test}: {why}");
            eprintln!("NOT RUN: {test}: no file system can be mounted: {why}");
            return None;
        }
        Some(Self(folder))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("made");
        for len in [1 << 20, 4096, 1] {
            while filler.write_all(&vec![b'x'; len]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_disk_that_fills_up_refuses_changes_with_507_and_media_goes_on() {
    let Some(disk) = Disk::mount("a_disk_that_fills_up_refuses_changes_with_507_and_media_goes_on") else { return };
    let stack = Stack::start(&Options { data: Some(disk.0.clone()), ..Options::default() });
    let input = stack.live("before");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut watcher = Watcher::start(&stack, &input);
    watcher.objects(25);

    disk.fill();
    // What the log of the database still has room for is used up first.
    let refused = || {
        let made = stack.cli(&["live", "create", "--name", "after", "--ingest", "rtmp", "--json"]);
        (!made.status.success()).then(|| String::from_utf8_lossy(&made.stderr).into_owned())
    };
    let words = eventually_some("a change is refused", refused);
    assert!(words.contains("disk is full") && words.contains("broadcasts go on"), "{words}");
    let answer = stack.http_request("POST", "/v1/live-inputs", "{\"name\":\"after\"}");
    assert!(answer.starts_with("HTTP/1.1 507") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("\"disk_full\""), "{answer}");
    watcher.objects(75);
    watcher.nothing_missing();
    assert_eq!(stack.status(&input), "active", "what needs no space is served");

    disk.free();
    // Every connection to the database is as good as before, those included that a full disk interrupted.
    for number in 0..8 {
        let made = stack.cli(&["live", "create", "--name", &format!("after {number}")]);
        assert!(made.status.success(), "{number}: {}", String::from_utf8_lossy(&made.stderr));
    }
    assert!(stack.cli(&["live", "delete", &input.id]).status.success());
}

#[test]
fn a_start_on_a_full_disk_says_so() {
    let Some(disk) = Disk::mount("a_start_on_a_full_disk_says_so") else { return };
    let mut stack = Stack::start(&Options { data: Some(disk.0.clone()), ..Options::default() });
    stack.up.signal(Signal::INT);
    assert!(stack.up.wait().success(), "{}", stack.printed());
    disk.fill();
    let words = stack.up_refused();
    assert!(words.contains("the disk is full") && words.contains(disk.0.to_str().expect("UTF-8")), "{words}");
    assert!(!words.contains("newer build") && words.trim().lines().count() == 1, "{words}");
    disk.free();
    stack.up_again();
}
