//! What control sees of the engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use streams_contract::{Counter, Event, RuntimeEntry, TunableValues, decode, names};
use streams_rings::{Access, Cnc, Counters, Polled, ReliableReader, Signal, Table, TableRead, Workspace, now_ns};

use crate::Error;

/// A shard whose last heartbeat is older than this is not alive. Shards beat at every turn and at least every 100 ms when
/// asleep; the rest is for a machine that is busy with other things.
pub const HEARTBEAT_FRESH: Duration = Duration::from_secs(2);
/// Shards an engine may have (`engine.shards`).
const SHARDS_MAX: usize = 64;

/// What the engine is doing.
#[derive(Debug, Clone, Default)]
pub struct EngineState {
    /// By shard.
    pub shards: Vec<ShardState>,
}

/// What one shard is doing.
#[derive(Debug, Clone)]
pub struct ShardState {
    /// Its life cycle.
    pub signal: Signal,
    /// Since its last heartbeat.
    pub heartbeat_age: Duration,
    /// The engine's process.
    pub pid: u32,
}

impl ShardState {
    /// Running and fresh.
    pub fn ready(&self) -> bool {
        self.signal == Signal::Run && self.heartbeat_age < HEARTBEAT_FRESH
    }
}

impl EngineState {
    /// Whether every shard runs.
    pub fn ready(&self) -> bool {
        !self.shards.is_empty() && self.shards.iter().all(ShardState::ready)
    }

    /// Whether any shard still beats.
    pub fn alive(&self) -> bool {
        self.shards.iter().any(|shard| shard.heartbeat_age < HEARTBEAT_FRESH)
    }

    /// Whether a shard has ended, or is about to.
    pub fn ending(&self) -> bool {
        self.shards.iter().any(|shard| matches!(shard.signal, Signal::Halt | Signal::Fail))
    }

    /// The engine's process, when one of its shards beat just now. It may have ended since.
    pub fn pid(&self) -> Option<u32> {
        self.shards.iter().find(|shard| shard.heartbeat_age < HEARTBEAT_FRESH && shard.pid != 0).map(|shard| shard.pid)
    }
}

/// One generation of the workspace `shards`, mapped read-only.
pub struct EngineView {
    generation: PathBuf,
    workspace: Workspace,
    shards: Vec<ShardView>,
}

struct ShardView {
    cnc: Cnc,
    counters: Counters,
    tuned: Option<Counters>,
    runtime: Table,
    runtime_version: Option<u64>,
    inputs: HashMap<String, RuntimeEntry>,
    events: Option<ReliableReader>,
}

impl EngineView {
    /// Joins what `current` points at; `generation` is where it points. With the workspace `control` the shards' events
    /// are read too.
    pub fn join(current: &Path, generation: PathBuf, control: &Workspace) -> Result<Self, Error> {
        let workspace = Workspace::join(current, Access::ReadOnly)?;
        let shards = shard_count(&workspace);
        let shards =
            (0..shards).map(|shard| ShardView::join(&workspace, shard, control)).collect::<Result<_, Error>>()?;
        Ok(Self { generation, workspace, shards })
    }

    /// The generation's file name.
    pub fn generation(&self) -> &Path {
        &self.generation
    }

    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// What they are doing.
    pub fn state(&self) -> EngineState {
        EngineState { shards: self.shards.iter().map(|shard| state_of(&shard.cnc)).collect() }
    }

    /// Every counter, by shard.
    pub fn counters(&self) -> Vec<Vec<u64>> {
        let of = |shard: &ShardView| {
            (0..Counter::COUNT.min(shard.counters.count())).map(|i| shard.counters.get(i)).collect::<Vec<_>>()
        };
        self.shards.iter().map(of).collect()
    }

    /// What each shard runs with; `None` for an engine that does not say.
    pub fn tuned(&self) -> Vec<Option<TunableValues>> {
        let of = |shard: &ShardView| {
            let tuned = shard.tuned.as_ref()?;
            Some(TunableValues::from_fn(|tunable| tuned.get(tunable.index())))
        };
        self.shards.iter().map(of).collect()
    }

    /// A running input. An input that two shards know (its home moved) is told by the one that changed last.
    pub fn runtime(&mut self, input: &str) -> Option<RuntimeEntry> {
        let of = |shard: &mut ShardView| {
            shard.refresh();
            shard.inputs.get(input).cloned()
        };
        self.shards.iter_mut().filter_map(of).max_by_key(|entry| entry.since_ms)
    }

    /// Hands at most `most` events a shard to `event`.
    pub fn events(&mut self, most: usize, event: &mut impl FnMut(Event)) {
        let mut bytes = Vec::new();
        for (i, shard) in self.shards.iter_mut().enumerate() {
            let Some(events) = &mut shard.events else { continue };
            for _ in 0..most {
                match events.poll(&mut bytes) {
                    Polled::Empty => break,
                    Polled::Message { .. } => match decode(&bytes) {
                        Ok(decoded) => event(decoded),
                        // An event of a newer engine: nothing that this build could act on.
                        Err(error) => tracing::debug!(%error, shard = i, "an event cannot be read"),
                    },
                    Polled::Skipped => {}
                    Polled::Overrun { lost } => {
                        tracing::warn!(shard = i, lost, "events were lost while control was away")
                    }
                }
            }
        }
    }
}

impl ShardView {
    fn join(workspace: &Workspace, shard: usize, control: &Workspace) -> Result<Self, Error> {
        let events = control
            .fseq(&names::events(shard))
            .and_then(|position| workspace.reliable_reader(&names::events(shard), position));
        Ok(Self {
            cnc: workspace.cnc(&names::shard(shard))?,
            counters: workspace.counters(&names::shard(shard))?,
            // An engine of an older build has none.
            tuned: workspace.counters(&names::tunables(shard)).ok(),
            runtime: workspace.table(&names::runtime(shard))?,
            runtime_version: None,
            inputs: HashMap::new(),
            // A control workspace with fewer shards than the engine: its events are for nobody, all else works.
            events: events.ok(),
        })
    }

    /// Reads the runtime table when it has changed.
    fn refresh(&mut self) {
        let version = self.runtime.version();
        if self.runtime_version == Some(version) {
            return;
        }
        let mut bytes = Vec::new();
        let mut inputs = HashMap::new();
        for i in 0..self.runtime.entries() {
            match self.runtime.read(i, &mut bytes) {
                TableRead::Entry(_) => {
                    let entry = decode::<RuntimeEntry>(&bytes).ok();
                    inputs.extend(entry.map(|entry| (entry.input.clone(), entry)));
                }
                TableRead::Empty => {}
                // What is known stays until the next look.
                TableRead::Busy => return,
            }
        }
        self.inputs = inputs;
        self.runtime_version = Some(version);
    }
}

/// The state of an engine by its run folder alone, for a process that is not control.
pub fn peek(run_dir: &Path) -> EngineState {
    let current = streams_contract::current_path(run_dir, names::SHARDS);
    let Ok(workspace) = Workspace::join(current, Access::ReadOnly) else {
        return EngineState::default();
    };
    let cncs = (0..shard_count(&workspace)).filter_map(|shard| workspace.cnc(&names::shard(shard)).ok());
    EngineState { shards: cncs.map(|cnc| state_of(&cnc)).collect() }
}

/// Viewers' and publishers' sessions that are open now, by the run folder alone; `None` without an engine.
pub fn sessions_open(run_dir: &Path) -> Option<u64> {
    let current = streams_contract::current_path(run_dir, names::SHARDS);
    let workspace = Workspace::join(current, Access::ReadOnly).ok()?;
    let of = |shard| Some(workspace.counters(&names::shard(shard)).ok()?.get(Counter::SessionsOpen.index()));
    (0..shard_count(&workspace)).map(of).sum()
}

/// How many shards a workspace `shards` has.
pub fn shard_count(workspace: &Workspace) -> usize {
    (0..SHARDS_MAX).take_while(|shard| workspace.cnc(&names::shard(*shard)).is_ok()).count()
}

fn state_of(cnc: &Cnc) -> ShardState {
    let age_ns = now_ns().saturating_sub(cnc.heartbeat_ns());
    ShardState { signal: cnc.signal(), heartbeat_age: Duration::from_nanos(age_ns), pid: cnc.pid() }
}
