//! What callers make and change: live inputs, signing keys, settings of the shards. Everything that is a rule of the product
//! is here; whoever speaks to the outside (HTTP today) only translates.
//!
//! **The rule.** What a caller was told stands in the database and in the tables of shared memory, or in neither. So every
//! change of every kind goes the same way, one at a time:
//!
//! ```text
//!  turn ──▶ undo noted ──▶ database ──▶ tables ──▶ note dropped ──▶ command to the shards ──▶ answer
//!   ▲                        │ fails: nothing was changed, the note is dropped
//!   │                        ▼          │ fails
//!   └── what is noted is undone first ◀─┘ undone at once: tables, then database
//! ```
//!
//! - The database is first, for a shard acts on its table at once: a key that is revoked there has lost its sessions,
//!   whatever becomes of the rest.
//! - The answer that an idempotency key keeps goes into the database with the change and leaves it with the change.
//! - The note outlives the task that made it. A change that is dropped half-way (its process goes on without it) or whose
//!   undoing fails (the disk is full by now) is undone by whoever has the next turn, and until then nothing else is changed.
//! - A control process that dies half-way needs none of this: the next one fills the tables from the database.

mod live_inputs;
mod playback;
mod refusal;
mod sessions;
mod signing_keys;
mod tunables;

use std::sync::Arc;
use std::time::Instant;

use streams_contract::Command;
use streams_logs::Seldom;
use tokio::sync::{Mutex, MutexGuard};

pub use self::live_inputs::{Created, Fields, Live, Rotated, Settings, Status};
pub use self::playback::Playback;
pub use self::refusal::Refusal;
pub use self::signing_keys::{CreatedKey, KeySource};
pub use self::tunables::DEFAULT;
use crate::Error;
use crate::keys::Vault;
use crate::program::{Message, Program};
use crate::store::{Change, Receipt, Store};

/// An answer, and what an idempotency key keeps of it.
pub type Answered<T> = Result<(T, Option<Receipt>), Error>;

/// Every resource, in the database and in shared memory.
pub struct Resources {
    store: Arc<dyn Store>,
    program: Arc<Program>,
    vault: Arc<Vault>,
    /// What an input that says nothing about it gets, in seconds.
    reconnect_window_s: u32,
    undo: Mutex<Option<Undo>>,
}

/// Puts back what a change began.
struct Undo {
    change: Change,
    receipt: Option<Receipt>,
}

/// The right to change something, until it is dropped.
pub struct Turn<'a>(MutexGuard<'a, Option<Undo>>);

/// A change and what goes with it.
struct Plan {
    change: Change,
    /// The row as it was.
    before: Change,
    receipt: Option<Receipt>,
    command: Option<Command>,
}

impl Resources {
    /// Over a store and the shared memory that was filled from it.
    pub fn new(store: Arc<dyn Store>, program: Arc<Program>, vault: Arc<Vault>, reconnect_window_s: u32) -> Self {
        Self { store, program, vault, reconnect_window_s, undo: Mutex::default() }
    }

    /// Waits until nobody else changes anything. An error when a change before cannot be undone yet.
    pub async fn turn(&self) -> Result<Turn<'_>, Error> {
        let mut turn = Turn(self.undo.lock().await);
        self.settle(&mut turn).await?;
        Ok(turn)
    }

    /// Undoes what could not be undone so far. To be called now and then, so that it does not wait for the next change.
    pub async fn repair(&self) {
        if let Err(error) = self.turn().await {
            log_stuck(&error);
        }
    }

    /// Makes a change in database and tables, or in neither, and tells the shards.
    async fn make(&self, turn: &mut Turn<'_>, plan: Plan) -> Result<(), Error> {
        let Plan { change, before, receipt, command } = plan;
        // Made now, for nothing may fail once database and tables are changed.
        let message = command.as_ref().map(Message::new).transpose()?;
        let free = receipt.as_ref().map(|receipt| Receipt { answer: None, ..receipt.clone() });
        *turn.0 = Some(Undo { change: before, receipt: free });
        if let Err(error) = self.store.change(&change, receipt.as_ref()).await {
            *turn.0 = None;
            return Err(error);
        }
        if let Err(error) = self.program.change(&change) {
            if let Err(stuck) = self.settle(turn).await {
                log_stuck(&stuck);
            }
            return Err(error);
        }
        *turn.0 = None;
        message.into_iter().for_each(|message| self.program.send_message(message));
        Ok(())
    }

    /// Undoes what is noted, in the order opposite to that of a change.
    async fn settle(&self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let Some(Undo { change, receipt }) = &*turn.0 else { return Ok(()) };
        let tables = self.program.change(change);
        let database = self.store.change(change, receipt.as_ref()).await;
        tables.and(database)?;
        *turn.0 = None;
        Ok(())
    }
}

/// A disk that stays full fails every attempt: the log has room for one line in a while.
fn log_stuck(error: &Error) {
    static STUCK: Seldom = Seldom::new();
    if let Some(left_out) = STUCK.pass(Instant::now()) {
        tracing::error!(%error, left_out, "a change cannot be undone yet: nothing else is changed until it is");
    }
}
