//! The signals that ask a program to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Error;

/// SIGINT, SIGTERM and SIGHUP, which a terminal sends that is closed.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it was ignored at the start: `nohup` asked for a life without a terminal.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// From now on none of them ends this process by itself.
    pub fn new() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(Error::file("listen for", "signals"));
        let hangup = match hangup_ignored() {
            true => None,
            false => Some(on(SignalKind::hangup())?),
        };
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())?, hangup })
    }

    /// Waits for one of them.
    pub async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored: the lowest bit of `SigIgn`, as SIGHUP is signal 1.
fn hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
