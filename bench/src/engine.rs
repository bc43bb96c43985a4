//! The engine seen from outside: its shared memory, mapped read-only, which costs it nothing.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use streams_contract::{self as contract, Counter, InputState, RuntimeEntry, names};
use streams_rings::{Access, Workspace, now_ns};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::BenchError;

/// How often shared memory is looked at while waiting. Shards write their counters every 50 ms.
const POLL: Duration = Duration::from_millis(10);
/// How often heartbeats are looked at.
const LISTEN: Duration = Duration::from_millis(250);
/// A shard that is silent for longer is not merely waiting for its core.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long the engine may take for what is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);

/// The engine of one data directory.
#[derive(Debug)]
pub struct Engine {
    shards: Workspace,
    count: usize,
    pid: u32,
}

impl Engine {
    /// Looks at the engine that serves the data directory.
    ///
    /// # Errors
    /// [`BenchError::File`] for a folder that is not there, [`BenchError::Rings`] when no engine was started for it.
    pub fn of(data: &Path) -> Result<Self, BenchError> {
        let path = contract::current_path(&run_dir(data)?, names::SHARDS);
        let shards = Workspace::join(path, Access::ReadOnly)?;
        let pid = shards.cnc(&names::shard(0))?.pid();
        let count = (0..).take_while(|shard| shards.cnc(&names::shard(*shard)).is_ok()).count();
        Ok(Self { shards, count, pid })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.count
    }

    /// Waits until the input is on air with its tracks; gives its home shard.
    ///
    /// # Errors
    /// [`BenchError::TooLong`] when it is not.
    pub async fn wait_on_air(&self, input: &str) -> Result<usize, BenchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(home) = self.home(input)? {
                return Ok(home);
            }
            if Instant::now() >= deadline {
                return Err(BenchError::TooLong { what: "the input comes on air", patience: PATIENCE });
            }
            sleep(POLL).await;
        }
    }

    fn home(&self, input: &str) -> Result<Option<usize>, BenchError> {
        let mut bytes = Vec::new();
        for shard in 0..self.count {
            let table = self.shards.table(&names::runtime(shard))?;
            for index in 0..table.entries() {
                if table.read(index, &mut bytes).version().is_none() {
                    continue;
                }
                let entry: RuntimeEntry = contract::decode(&bytes)?;
                if entry.input == input && entry.state == InputState::Active && !entry.tracks.is_empty() {
                    return Ok(Some(shard));
                }
            }
        }
        Ok(None)
    }

    /// How long ago the shard that was silent for longest gave a sign of life; shards do so every 50 ms.
    ///
    /// # Errors
    /// [`BenchError::Rings`] when the workspace is not what it was.
    pub fn silence(&self) -> Result<Duration, BenchError> {
        let mut longest = Duration::ZERO;
        for shard in 0..self.count {
            let heartbeat_ns = self.shards.cnc(&names::shard(shard))?.heartbeat_ns();
            longest = longest.max(Duration::from_nanos(now_ns().saturating_sub(heartbeat_ns)));
        }
        Ok(longest)
    }

    /// Waits, and tells the longest silence of a shard meanwhile.
    ///
    /// # Errors
    /// [`BenchError::Rings`] when the workspace is not what it was.
    pub async fn listen(&self, time: Duration) -> Result<Duration, BenchError> {
        let deadline = Instant::now() + time;
        let mut longest = Duration::ZERO;
        while Instant::now() < deadline {
            sleep_until(deadline.min(Instant::now() + LISTEN)).await;
            longest = longest.max(self.silence()?);
        }
        Ok(longest)
    }

    /// A counter of every shard, by shard.
    ///
    /// # Errors
    /// [`BenchError::Rings`] when the workspace is not what it was.
    pub fn counter(&self, counter: Counter) -> Result<Vec<u64>, BenchError> {
        let of = |shard| Ok(self.shards.counters(&names::shard(shard))?.get(counter.index()));
        (0..self.count).map(of).collect()
    }

    /// The shard that accepted the one connection made since `before` was read; `None` when others connected too, so that it
    /// cannot be told.
    ///
    /// # Errors
    /// [`BenchError::TooLong`] when no shard tells a connection.
    pub async fn wait_accepted(&self, before: &[u64]) -> Result<Option<usize>, BenchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.counter(Counter::ConnectionsAccepted)?;
            let grown: Vec<u64> = now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
            match grown.iter().sum::<u64>() {
                0 if Instant::now() >= deadline => {
                    return Err(BenchError::TooLong { what: "a shard counts the connection", patience: PATIENCE });
                }
                0 => sleep(POLL).await,
                1 => return Ok(grown.iter().position(|count| *count == 1)),
                _ => return Ok(None),
            }
        }
    }
}

/// The folder of the shared memory that belongs to a data directory.
///
/// # Errors
/// [`BenchError::File`] when the directory is not there.
pub fn run_dir(data: &Path) -> Result<PathBuf, BenchError> {
    let canonical = data.canonicalize().map_err(BenchError::file("find", data))?;
    let mut hex = String::new();
    for byte in digest(&SHA256, canonical.as_os_str().as_bytes()).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(contract::run_dir(&hex))
}
