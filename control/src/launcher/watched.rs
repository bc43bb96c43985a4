//! A process that is watched through a pidfd: its end is seen and its signals reach it even when it is not our child, and
//! never another process that got its number.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use crate::Error;

/// A process, child or not.
pub struct Watched {
    pid: u32,
    fd: AsyncFd<OwnedFd>,
    child: Option<Child>,
    status: Option<String>,
}

impl Watched {
    /// A child that was just started.
    pub fn child(child: Child) -> Result<Self, Error> {
        // A child without an id has been waited for already, which nobody did.
        let pid = child.id().unwrap_or_default();
        Ok(Self { child: Some(child), ..Self::open(pid)? })
    }

    /// Any process by its id.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let failed = |source| Error::Process { action: "watch", pid, source };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        let fd = AsyncFd::register_with_interest(fd, Interest::READABLE).map_err(|error| failed(error.into()))?;
        Ok(Self { pid, fd, child: None, status: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end and tells how it ended. May be asked again, and may be given up and asked anew.
    pub async fn ended(&mut self) -> String {
        if let Some(status) = &self.status {
            return status.clone();
        }
        // A pidfd turns readable when the process ends, and stays so.
        if let Err(error) = self.fd.readable().await {
            tracing::warn!(pid = self.pid, %error, "a process cannot be watched");
        }
        let status = match &mut self.child {
            Some(child) => child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string()),
            None => "its end was not seen by its parent".to_owned(),
        };
        self.status.insert(status).clone()
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
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            // It has ended: that is what was asked for.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::Process { action: "signal", pid: self.pid, source: errno.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_by_its_parent_and_by_others() {
        let child = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut ours = Watched::child(child).unwrap();
        let mut seen = Watched::open(ours.pid()).unwrap();
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
    async fn a_process_that_is_not_there_cannot_be_watched() {
        assert!(Watched::open(0).is_err());
        assert!(Watched::open(u32::MAX).is_err());
    }
}
