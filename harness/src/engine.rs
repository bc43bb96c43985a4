//! The engine seen from outside: its shared memory, mapped read-only, which costs it nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use streams_contract::{self as contract, Counter, InputState, RuntimeEntry, names};
use streams_rings::{Access, Workspace, now_ns};
use tokio::time::{Instant, sleep, sleep_until};

use crate::HarnessError;
use crate::stack::log_lines;

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
    /// [`HarnessError::Engine`] for a folder that is not there, [`HarnessError::Rings`] when no engine was started for it.
    pub fn of(data: &Path) -> Result<Self, HarnessError> {
        let path = contract::current_path(&Self::run_dir(data)?, names::SHARDS);
        let shards = Workspace::join(path, Access::ReadOnly)?;
        let pid = shards.cnc(&names::shard(0))?.pid();
        let count = (0..).take_while(|shard| shards.cnc(&names::shard(*shard)).is_ok()).count();
        Ok(Self { shards, count, pid })
    }

    /// The folder of the shared memory that belongs to a data directory.
    ///
    /// # Errors
    /// [`HarnessError::Engine`] when the directory is not there.
    pub fn run_dir(data: &Path) -> Result<PathBuf, HarnessError> {
        Ok(streams_engine::run_dir(data)?)
    }

    /// Lines of its log that are more than notes, the newest of them, oldest first.
    pub fn complaints(data: &Path, lines_max: usize) -> Vec<String> {
        log_lines(data, "engine.log", lines_max, |line| !line.contains(" INFO "))
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
    /// [`HarnessError::TooLong`] when it is not.
    pub async fn wait_on_air(&self, input: &str) -> Result<usize, HarnessError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(home) = self.home(input)? {
                return Ok(home);
            }
            if Instant::now() >= deadline {
                return Err(HarnessError::TooLong { what: "the input comes on air".to_owned(), patience: PATIENCE });
            }
            sleep(POLL).await;
        }
    }

    fn home(&self, input: &str) -> Result<Option<usize>, HarnessError> {
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
    /// [`HarnessError::Rings`] when the workspace is not what it was.
    pub fn silence(&self) -> Result<Duration, HarnessError> {
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
    /// [`HarnessError::Rings`] when the workspace is not what it was.
    pub async fn listen(&self, time: Duration) -> Result<Duration, HarnessError> {
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
    /// [`HarnessError::Rings`] when the workspace is not what it was.
    pub fn counter(&self, counter: Counter) -> Result<Vec<u64>, HarnessError> {
        let of = |shard| Ok(self.shards.counters(&names::shard(shard))?.get(counter.index()));
        (0..self.count).map(of).collect()
    }

    /// The shard that accepted the one connection made since `before` was read; `None` when others connected too, so that it
    /// cannot be told.
    ///
    /// # Errors
    /// [`HarnessError::TooLong`] when no shard tells a connection.
    pub async fn wait_accepted(&self, before: &[u64]) -> Result<Option<usize>, HarnessError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.counter(Counter::ConnectionsAccepted)?;
            let grown: Vec<u64> = now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
            match grown.iter().sum::<u64>() {
                0 if Instant::now() >= deadline => {
                    return Err(HarnessError::TooLong {
                        what: "a shard counts the connection".to_owned(),
                        patience: PATIENCE,
                    });
                }
                0 => sleep(POLL).await,
                1 => return Ok(grown.iter().position(|count| *count == 1)),
                _ => return Ok(None),
            }
        }
    }
}
