//! What one look at shared memory finds.

use streams_contract::{Counter, RuntimeEntry};
use streams_rings::Signal;

/// Everything at one moment, or nearly: shards go on while they are looked at.
#[derive(Debug, Clone)]
pub struct Sample {
    /// File name of the engine's workspace; another one is another engine.
    pub generation: String,
    /// The engine's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started, nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// Now, nanoseconds since 1970.
    pub now_unix_ns: u64,
    /// Now, nanoseconds of the monotonic clock, in which heartbeats are.
    pub now_ns: u64,
    /// By shard.
    pub shards: Vec<ShardSample>,
    /// Every link, a line for each reader.
    pub links: Vec<LinkSample>,
    /// Running inputs as their home shards tell them.
    pub inputs: Vec<RuntimeEntry>,
}

/// One shard.
#[derive(Debug, Clone)]
pub struct ShardSample {
    /// Its life cycle.
    pub signal: Signal,
    /// Its last heartbeat, which is also when it published its counters.
    pub heartbeat_ns: u64,
    /// By `Counter` index.
    pub counters: Vec<u64>,
}

impl ShardSample {
    /// A counter; 0 when the engine's build does not have it.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters.get(counter.index()).copied().unwrap_or_default()
    }
}

/// One link with one of its readers.
#[derive(Debug, Clone)]
pub struct LinkSample {
    /// Object name: `rx.0`, `media.1`, `ask.0.1`, `cmd.0`, `events.0`.
    pub name: String,
    /// Who reads: `shard 1`, `control`.
    pub reader: String,
    /// When it was looked at, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// Frags that it holds.
    pub depth: u64,
    /// First number of its life.
    pub seq0: u64,
    /// Number that the writer gives next.
    pub seq: u64,
    /// Place of the newest payload, in chunks.
    pub chunk: Option<u32>,
    /// Number that the reader wants next; `None`: it has not said yet.
    pub reader_seq: Option<u64>,
    /// Frags that the reader lost by being slow.
    pub lost: u64,
}
