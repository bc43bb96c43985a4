//! Control's side of shared memory.
//!
//! ```text
//! store ──▶ Tables ──▶ control.<gen>: inputs, resources, signing_keys, tunables ──▶ shards
//!           Commands ─▶ control.<gen>: cmd.<i> ──────────────────────────────────▶ shard i
//!           EngineView ◀── shards.<gen>: cnc, counters, runtime.<i>, events.<i> ◀── shards
//! ```
//!
//! The workspace `control` outlives this process: a new one joins it and writes every entry again, in place, so that a
//! running engine never sees a hole. The workspace `shards` belongs to the engine and may be replaced at any time by a
//! new generation; [`Program::tick`] notices that and joins the new one.

mod commands;
mod engine_view;
mod slots;
mod tables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streams_contract::{self as contract, Command, Event, RuntimeEntry, Tunable, TunableValues, Tunables, names};
use streams_rings::{Access, Cnc, Signal, Workspace, now_ns};

use self::commands::Commands;
pub(crate) use self::commands::Message;
use self::engine_view::EngineView;
pub use self::engine_view::{EngineState, HEARTBEAT_FRESH, ShardState, peek, sessions_open, shard_count};
pub use self::tables::KEYS_OF_INPUT_MAX;
use self::tables::Tables;
use crate::keys::Vault;
use crate::store::{Change, LiveInput, SigningKey, TunedRow};
use crate::{Error, clock};

/// Events taken in one [`Program::tick`]: a flood of them must not keep the tables waiting.
const EVENTS_A_TICK: usize = 256;

/// How long shards know a key as revoked. Every token that it signed before is over by then (`exp - iat` is at most a day,
/// the leeway seconds), and an unknown key is refused like a revoked one: its place in the table is free for another.
const REVOKED_KNOWN_MS: i64 = 25 * 3600 * 1000;

/// Keys revoked before this are unknown to shards.
pub fn revoked_known_since_ms(now_ms: i64) -> i64 {
    now_ms.saturating_sub(REVOKED_KNOWN_MS)
}

/// Whether shards have to know a key: any that is not revoked, and one that was revoked just now.
fn is_known(key: &SigningKey, now_ms: i64) -> bool {
    key.revoked_at.is_none_or(|revoked_at| revoked_at >= revoked_known_since_ms(now_ms))
}

/// What fills the tables at start.
pub struct Contents {
    /// Every live input.
    pub inputs: Vec<LiveInput>,
    /// Every signing key that shards have to know.
    pub signing_keys: Vec<SigningKey>,
    /// Every setting of the shards.
    pub tunables: Vec<TunedRow>,
}

/// What the shards are tuned to, and what they run with.
pub struct Tuned {
    /// Set for all shards.
    pub all: Tunables,
    /// Set for one shard, by shard.
    pub shards: Vec<Tunables>,
    /// In effect, by shard; empty without a living engine, `None` for a shard that does not say.
    pub effective: Vec<Option<TunableValues>>,
}

/// Control's side of shared memory; every operation is short and takes one lock.
pub struct Program {
    inner: Mutex<Inner>,
}

struct Inner {
    run_dir: PathBuf,
    control: Workspace,
    cnc: Cnc,
    tables: Tables,
    commands: Commands,
    engine: Option<EngineView>,
    closed: bool,
    /// Why the last encoder of an input was turned away, until one is accepted. Bounded by the inputs of the table.
    refusals: HashMap<String, String>,
}

impl Program {
    /// Joins the `control` workspace of `run_dir`, or makes one for `shards` shards where there is none that fits, and
    /// writes every entry. One process at a time may do this: the caller holds the data directory's lock.
    pub fn open(run_dir: &Path, shards: usize, contents: &Contents, vault: Arc<Vault>) -> Result<Self, Error> {
        contract::create_run_dir(run_dir, None)?;
        let control = match joined(run_dir, shards) {
            Some(control) => control,
            None => created(run_dir, shards)?,
        };
        let cnc = control.cnc(names::CONTROL_CNC)?;
        cnc.set_pid(std::process::id());
        let mut tables = Tables::join(&control, vault)?;
        tables.fill(contents)?;
        let inner = Inner {
            run_dir: run_dir.to_owned(),
            cnc,
            tables,
            commands: Commands::new(),
            engine: None,
            closed: false,
            refusals: HashMap::new(),
            control,
        };
        let program = Self { inner: Mutex::new(inner) };
        program.tick(|_| ());
        program.lock().cnc.set_signal(Signal::Run);
        Ok(program)
    }

    /// Shows that control lives, follows a restarted engine, hands over waiting commands and takes the shards' events.
    pub fn tick(&self, mut event: impl FnMut(&Event)) {
        let mut inner = self.lock();
        inner.cnc.heartbeat(now_ns());
        inner.follow_engine();
        let Inner { commands, engine, tables, refusals, .. } = &mut *inner;
        commands.flush();
        let Some(engine) = engine else { return };
        engine.events(EVENTS_A_TICK, &mut |happened| {
            match &happened {
                Event::IngestRefused { input: Some(input), reason, .. } if tables.has_input(input) => {
                    refusals.insert(input.clone(), reason.clone());
                }
                Event::IngestUp { input, .. } => drop(refusals.remove(input)),
                _ => {}
            }
            event(&happened);
        });
    }

    /// Makes a change in the tables. Refused once control is about to end: the one after it reads the database.
    pub fn change(&self, change: &Change) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Error::Closing);
        }
        match change {
            Change::PutLiveInput(input) => inner.tables.put_input(input),
            Change::DeleteLiveInput { org, id } => {
                if inner.tables.remove_input(org, id)? {
                    inner.refusals.remove(id);
                }
                Ok(())
            }
            Change::PutSigningKey(key) if is_known(key, clock::unix_ms()) => inner.tables.put_signing_key(key),
            Change::PutSigningKey(SigningKey { id, .. }) | Change::DeleteSigningKey { id, .. } => {
                inner.tables.remove_signing_key(id)
            }
            Change::SetTunable(TunedRow { shard, name, value }) => match Tunable::from_name(name) {
                Ok(tunable) => inner.tables.set_tunable(*shard, tunable, *value),
                // Of another build: kept in the database for it.
                Err(_) => Ok(()),
            },
        }
    }

    /// Whether the tables hold an organisation's live input.
    pub fn has_input(&self, org: &str, id: &str) -> bool {
        self.lock().tables.has_input_of(org, id)
    }

    /// Removes every signing key but these.
    pub fn retain_signing_keys(&self, known: &[SigningKey]) -> Result<(), Error> {
        self.lock().tables.retain_signing_keys(known)
    }

    /// What the shards are tuned to, and what they run with.
    pub fn tuned(&self) -> Tuned {
        let mut inner = self.lock();
        inner.follow_engine();
        let engine = inner.engine.as_ref().filter(|engine| engine.state().alive());
        Tuned {
            all: inner.tables.tunables(None),
            shards: (0..inner.tables.tunable_shards()).map(|shard| inner.tables.tunables(Some(shard))).collect(),
            effective: engine.map(EngineView::tuned).unwrap_or_default(),
        }
    }

    /// Sends a command to every shard. Without an engine there is nobody to tell: the next one reads the tables.
    pub fn send(&self, command: &Command) -> Result<(), Error> {
        self.send_message(Message::new(command)?);
        Ok(())
    }

    /// The same with a command that was made before.
    pub fn send_message(&self, message: Message) {
        self.lock().commands.send(message);
    }

    /// The running input as its home shard sees it; `None` without an encoder or a living engine.
    pub fn runtime(&self, input: &str) -> Option<RuntimeEntry> {
        let mut inner = self.lock();
        inner.follow_engine();
        inner.engine.as_mut().filter(|engine| engine.state().alive())?.runtime(input)
    }

    /// Why the last encoder of this input was turned away; `None` once one is accepted.
    pub fn last_refusal(&self, input: &str) -> Option<String> {
        self.lock().refusals.get(input).cloned()
    }

    /// What the engine is doing.
    pub fn engine(&self) -> EngineState {
        let mut inner = self.lock();
        inner.follow_engine();
        inner.engine.as_ref().map(EngineView::state).unwrap_or_default()
    }

    /// Every counter of every shard, by shard and by `Counter` index.
    pub fn counters(&self) -> Vec<Vec<u64>> {
        self.lock().engine.as_ref().map(EngineView::counters).unwrap_or_default()
    }

    /// Tells the shards that control is gone on purpose. From now on no table changes.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.cnc.set_signal(Signal::Halt);
        inner.closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst one table entry unwritten; the tables must stay in service.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Joins the engine's current generation when it is not the one that is joined.
    fn follow_engine(&mut self) {
        let current = contract::current_path(&self.run_dir, names::SHARDS);
        let Ok(target) = std::fs::read_link(&current) else {
            return;
        };
        if self.engine.as_ref().is_some_and(|engine| engine.generation() == target) {
            return;
        }
        // The engine may be replacing it this very moment: the next tick tries again.
        match EngineView::join(&current, target, &self.control) {
            Ok(engine) => {
                self.commands.aim(&self.control, engine.workspace(), engine.shards());
                tracing::info!(shards = engine.shards(), "joined the engine's workspace");
                self.engine = Some(engine);
            }
            Err(error) => tracing::debug!(%error, "the engine's workspace cannot be joined yet"),
        }
    }
}

/// The existing workspace, when it is readable and has room for all shards.
fn joined(run_dir: &Path, shards: usize) -> Option<Workspace> {
    let control = Workspace::join(contract::current_path(run_dir, names::CONTROL), Access::ReadWrite).ok()?;
    let last = shards.saturating_sub(1);
    control.fseq(&names::events(last)).ok()?;
    (Tables::shards(&control)? >= shards).then_some(control)
}

fn created(run_dir: &Path, shards: usize) -> Result<Workspace, Error> {
    let generation = contract::next_generation(run_dir, names::CONTROL)?;
    let path = contract::generation_path(run_dir, names::CONTROL, generation);
    let control = contract::control_workspace(shards).create(&path)?;
    contract::switch_current(run_dir, names::CONTROL, generation)?;
    Ok(control)
}
