//! A process that is watched through a pidfd: its end is seen and its signals reach it even when it is not our child, and
//! never another process that got its number.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::Child;
use tokio::sync::watch;

use crate::Error;

/// A process, child or not.
pub struct Watched {
    pid: u32,
    fd: Arc<OwnedFd>,
    end: End,
}

/// Who sees the end.
enum End {
    /// We are the parent.
    Child(Child),
    /// A thread that sleeps on the pidfd.
    Seen(watch::Receiver<bool>),
}

impl Watched {
    /// A child that was just started.
    pub fn child(child: Child) -> Result<Self, Error> {
        // A child without an id has been waited for already, which nobody did.
        let pid = child.id().unwrap_or_default();
        Ok(Self { pid, fd: Arc::new(open(pid)?), end: End::Child(child) })
    }

    /// Any process by its id; `None` when it has ended, whether or not its parent knows.
    pub fn other(pid: u32) -> Result<Option<Self>, Error> {
        let fd = match open(pid) {
            Ok(fd) if !has_ended(&fd) => Arc::new(fd),
            Ok(_) => return Ok(None),
            Err(Error::Process { source, .. }) if source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (sender, seen) = watch::channel(false);
        let watched = fd.clone();
        std::thread::Builder::new()
            .name(format!("watch {pid}"))
            .spawn(move || {
                sleep_until_end(&watched);
                sender.send_replace(true);
            })
            .map_err(|source| Error::Process { action: "watch", pid, source })?;
        Ok(Some(Self { pid, fd, end: End::Seen(seen) }))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end and tells how it ended. May be given up and asked again, after the end too.
    pub async fn ended(&mut self) -> String {
        match &mut self.end {
            End::Child(child) => child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string()),
            End::Seen(seen) => {
                // The sender goes after the end alone.
                let _ = seen.wait_for(|ended| *ended).await;
                "its parent alone knows how".to_owned()
            }
        }
    }

    /// SIGTERM, and SIGKILL when it has not ended within `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), Error> {
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(_) => Ok(()),
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::KILL)?;
        self.ended().await;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match pidfd_send_signal(&self.fd, signal) {
            // It has ended: that is what was asked for.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::Process { action: "signal", pid: self.pid, source: errno.into() }),
        }
    }
}

fn open(pid: u32) -> Result<OwnedFd, Error> {
    let failed = |source| Error::Process { action: "watch", pid, source };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))
}

/// A pidfd turns readable when its process ends.
fn sleep_until_end(fd: &OwnedFd) {
    while let Err(Errno::INTR) = poll(&mut [PollFd::new(fd, PollFlags::IN)], None) {}
}

fn has_ended(fd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|readable| readable > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_by_its_parent_and_by_others() {
        let child = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut ours = Watched::child(child).unwrap();
        let mut seen = Watched::other(ours.pid()).unwrap().unwrap();
        ours.stop(Duration::from_secs(10)).await.unwrap();
        assert!(ours.ended().await.contains("15"), "{}", ours.ended().await);
        seen.ended().await;
        seen.stop(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed() {
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut command = tokio::process::Command::new("sh");
        let mut child = command.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        tokio::io::AsyncReadExt::read_exact(child.stdout.as_mut().unwrap(), &mut line).await.unwrap();
        let mut process = Watched::child(child).unwrap();
        process.stop(Duration::from_millis(50)).await.unwrap();
        assert!(process.ended().await.contains('9'));
    }

    #[tokio::test]
    async fn a_process_that_has_ended_is_nobody() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let fd = open(child.id()).unwrap();
        sleep_until_end(&fd);
        assert!(Watched::other(child.id()).unwrap().is_none(), "its parent does not know yet");
        child.wait().unwrap();
        assert!(Watched::other(child.id()).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_process_id_cannot_be_watched() {
        assert!(Watched::other(0).is_err());
        assert!(Watched::other(u32::MAX).is_err());
    }
}
