//! Two processes on a workspace, one of them killed in the middle of what it does: the other goes on, a successor takes over.
//!
//! The tests start this same binary again, running only `a_process_of_the_tests`, which plays the part that the environment
//! names. The parts never stop by themselves, so the kill meets them at work, wherever in it.
#![cfg(not(loom))]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use streams_rings::{Access, Polled, Table, Workspace, WorkspaceBuilder};
use support::{Folder, payload};

const PART: &str = "RINGS_TEST_PART";
const FILE: &str = "RINGS_TEST_FILE";

/// Rounds of killing; each meets another place.
const ROUNDS: usize = 8;
/// Fails a test that hangs instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(60);

const DEPTH: usize = 64;
const TABLE_LEN: usize = 500;
/// Counter that a reader raises after each message it has checked: number of the next one.
const NEXT: usize = 0;
/// Counter of messages that a reader had seen already when it took over.
const FIRST: usize = 1;

/// A part being played; killed at the end whatever happens.
struct Part(Child);

impl Part {
    fn start(part: &str, file: &Path) -> Part {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "a_process_of_the_tests", "--nocapture"]).env(PART, part).env(FILE, file);
        Part(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a second process"))
    }

    /// SIGKILL, and the body is gone when this returns.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().expect("state"), None, "it ended by itself: a check of its own failed");
        self.0.kill().expect("killed");
        self.0.wait().expect("waited for");
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::yield_now();
    }
}

fn workspace(folder: &Folder) -> Workspace {
    WorkspaceBuilder::new("processes")
        .link("link", DEPTH, 1 << 14, 100)
        .fseq("link")
        .counters("reader", 2)
        .table("table", 2, TABLE_LEN)
        .create(folder.file("w"))
        .expect("made")
}

#[test]
fn a_process_of_the_tests() {
    let (Ok(part), Some(file)) = (std::env::var(PART), std::env::var_os(FILE)) else { return };
    let workspace = Workspace::join(file, Access::ReadWrite).expect("joined");
    match part.as_str() {
        "writer" => write_for_ever(&workspace),
        "reader" => read_for_ever(&workspace),
        "table" => rewrite_for_ever(workspace.table("table").expect("table")),
        other => panic!("no part {other}"),
    }
}

/// Publishes messages of many frags; `sig` is the number of the first, so that a reader can tell what belongs there.
fn write_for_ever(workspace: &Workspace) {
    let mut writer = workspace.link_writer("link").expect("writer");
    let max = writer.message_len_max();
    loop {
        let sig = writer.seq();
        writer.publish(sig, 0, &payload(sig, max));
    }
}

fn read_for_ever(workspace: &Workspace) {
    let (counters, fseq) = (workspace.counters("reader").expect("counters"), workspace.fseq("link").expect("fseq"));
    let mut reader = workspace.reliable_reader("link", fseq).expect("reader");
    let (mut out, mut expected) = (Vec::new(), None);
    loop {
        match reader.poll(&mut out) {
            Polled::Message { sig, .. } => {
                assert_eq!(sig, expected.unwrap_or(sig));
                assert_eq!(out, payload(sig, 300));
                if expected.is_none() {
                    counters.set(FIRST, sig);
                }
                expected = Some(sig + 1);
                counters.set(NEXT, sig + 1);
            }
            Polled::Empty => std::thread::yield_now(),
            other => panic!("{other:?} on a reliable link"),
        }
    }
}

fn rewrite_for_ever(mut table: Table) {
    loop {
        let next = table.entry_version(0) + 1;
        table.write(0, &payload(next, TABLE_LEN)).expect("fits");
    }
}

#[test]
fn a_writer_killed_at_work_is_followed_by_another_and_no_reader_sees_half_a_message() {
    let folder = Folder::new();
    let workspace = workspace(&folder);
    let mut reader = workspace.link_reader("link").expect("reader");
    let max = workspace.link_writer("link").expect("limits").message_len_max();
    let mut out = Vec::new();
    let check = |polled: Polled, out: &[u8]| {
        if let Polled::Message { sig, seq, .. } = polled {
            assert_eq!(sig, seq);
            assert_eq!(out, payload(sig, max), "message {sig}");
        }
        polled
    };
    for round in 0..ROUNDS {
        let writer = Part::start("writer", &folder.file("w"));
        let enough = reader.stats().messages + 50 + 37 * round as u64;
        until("the writer has published", || {
            check(reader.poll(|_| true, &mut out), &out);
            reader.stats().messages >= enough
        });
        writer.kill();
        until("what the dead left is read", || check(reader.poll(|_| true, &mut out), &out) == Polled::Empty);
        assert!(reader.stats().broken_messages <= reader.stats().overruns + round as u64 + 1);
    }
    assert_eq!(reader.stats().malformed_frags, 0);
}

#[test]
fn a_reader_killed_at_work_is_followed_by_another_that_misses_nothing() {
    let folder = Folder::new();
    let workspace = workspace(&folder);
    let (counters, fseq) = (workspace.counters("reader").expect("counters"), workspace.fseq("link").expect("fseq"));
    let mut writer = workspace.reliable_writer("link", std::slice::from_ref(&fseq)).expect("writer");
    let mut next = 0u64;
    let mut publish = |next: &mut u64| writer.try_publish(*next, 0, &payload(*next, 300)).map(|_| *next += 1).is_ok();
    for round in 0..ROUNDS {
        let before = counters.get(NEXT);
        counters.set(FIRST, u64::MAX);
        let reader = Part::start("reader", &folder.file("w"));
        let enough = before + 500 + 37 * round as u64;
        until("the reader has read", || {
            publish(&mut next);
            counters.get(NEXT) >= enough
        });
        let first = counters.get(FIRST);
        // One message may have been copied by the dead one and not yet counted; an eighth of the link may come again.
        assert!(first <= before + 1, "messages {before} to {first} are missing");
        assert!(first + (DEPTH as u64 / 8) + 2 > before, "from {first} on again, though {before} were read");
        reader.kill();
        while publish(&mut next) {}
        assert!(next - counters.get(NEXT) <= DEPTH as u64, "the writer waits for the one to come");
    }
}

#[test]
fn a_table_writer_killed_at_work_never_blocks_a_reader() {
    let folder = Folder::new();
    let workspace = workspace(&folder);
    let table = workspace.table("table").expect("table");
    let mut out = Vec::new();
    for round in 0..ROUNDS {
        let before = table.entry_version(0);
        let writer = Part::start("table", &folder.file("w"));
        until("the writer has written", || {
            if let Some(version) = table.read(0, &mut out).version() {
                assert_eq!(out, payload(version, TABLE_LEN), "version {version}");
            }
            table.entry_version(0) >= before + 100 + 37 * round as u64
        });
        writer.kill();
        let left = table.read(0, &mut out).version().expect("the last whole entry");
        assert_eq!(out, payload(left, TABLE_LEN));
    }
    let (seen, mut own) = (table.version(), workspace.table("table").expect("table"));
    own.write(0, b"the last writer").expect("fits");
    own.clear(1).expect("is there");
    table.read(0, &mut out);
    assert_eq!((&out[..], table.version()), (&b"the last writer"[..], seen + 2));
}
