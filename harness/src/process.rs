//! Processes that belong to whoever started them.

use std::fs;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
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
}
