//! Processes that belong to whoever started them.

use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a child that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A child that is ended and reaped when it goes out of scope.
#[derive(Debug)]
pub struct Owned {
    child: Child,
    /// How it is asked to end, and how long it may take.
    asked: Option<(Signal, Duration)>,
}

impl Owned {
    /// Takes over a child that is killed in the end.
    pub fn new(child: Child) -> Self {
        Self { child, asked: None }
    }

    /// Takes over a child that ends within `grace` of `signal`, or is killed.
    pub fn asked_to_end(child: Child, signal: Signal, grace: Duration) -> Self {
        Self { child, asked: Some((signal, grace)) }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal.
    pub fn signal(&self, kind: Signal) {
        signal(self.pid(), kind);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Never: a child of this process can be waited for, once and again.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some((kind, grace)) = self.asked {
            // A child that is not yet waited for keeps its id, so the signal reaches it or nobody.
            if self.ended().is_none() {
                self.signal(kind);
            }
            let deadline = Instant::now() + grace;
            while self.ended().is_none() && Instant::now() < deadline {
                sleep(POLL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, and kills it when that does not come: a command that hangs is a failure with words, and no silence.
///
/// # Errors
/// When it does not start, and [`io::ErrorKind::TimedOut`] when it was killed.
pub fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let mut child = Owned::new(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    let (stdout, stderr) = (reader(child.child().stdout.take()), reader(child.child().stderr.take()));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.ended() {
            break status;
        }
        if Instant::now() >= deadline {
            drop(child);
            let said = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it did not end within {limit:?}; it said: {said}"),
            ));
        }
        sleep(POLL);
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    Ok(Output { status, stdout, stderr })
}

/// Reads what a child writes, so that it never waits for a reader.
fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is.
        let _ = from.map(|mut from| from.read_to_end(&mut bytes));
        bytes
    })
}

/// Sends a signal to a process of one's own; one that is gone does not mind.
pub fn signal(pid: u32, kind: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, kind);
    }
}

/// Name of a running process, at most 15 bytes of it.
pub fn name_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

/// Ids of the running processes whose executable is called `name` and whose arguments contain `argument`.
pub fn processes_named(name: &str, argument: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        words.next().is_some_and(|first| first.rsplit('/').next() == Some(name)) && words.any(|word| word == argument)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sleeper(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).spawn().unwrap()
    }

    #[test]
    fn a_child_ends_with_its_owner() {
        for asked in [false, true] {
            let argument = if asked { "4711.25" } else { "4711.5" };
            let owned = match asked {
                false => Owned::new(sleeper(argument)),
                true => Owned::asked_to_end(sleeper(argument), Signal::TERM, Duration::from_secs(20)),
            };
            crate::until("it is found by its argument", Duration::from_secs(20), || {
                processes_named("sleep", argument).contains(&owned.pid()).then_some(())
            })
            .unwrap();
            assert_eq!(name_of(owned.pid()).as_deref(), Some("sleep"));
            drop(owned);
            assert!(processes_named("sleep", argument).is_empty());
        }
    }

    #[test]
    fn a_child_that_does_not_listen_is_killed_when_its_time_is_over() {
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut child = Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = child.id();
        drop(Owned::asked_to_end(child, Signal::TERM, Duration::from_millis(50)));
        assert_eq!(name_of(pid), None);
    }

    #[test]
    fn a_command_that_hangs_is_killed_and_its_words_are_told() {
        let mut hangs = Command::new("sh");
        hangs.args(["-c", "echo so far >&2; exec sleep 600"]);
        let error = output_within(&mut hangs, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("so far"), "{error}");
        let mut ends = Command::new("sh");
        let output = output_within(ends.args(["-c", "echo out; exit 3"]), Duration::from_secs(60)).unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(3), b"out\n".to_vec()));
    }
}
