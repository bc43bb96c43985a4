//! Where control keeps its state: one trait, so that SQLite (embedded) and a database server are the same to everybody
//! above.

mod change;
mod rows;
mod sqlite;

use std::future::Future;
use std::pin::Pin;

pub use change::{Change, Receipt};
pub use rows::{ApiKey, Begun, LiveInput, SigningKey, StoredAnswer, StreamKey, TunedRow};
pub use sqlite::SqliteStore;

use crate::Error;

/// The answer of a store, some time later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A page of a list: rows with an id below `before` (all when `None`), newest first, at most `limit`.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The last id of the page before.
    pub before: Option<&'a str>,
    /// Rows at most.
    pub limit: u32,
}

/// Control's state. Every look-up by a caller names its organisation: a row of another one does not exist for it.
pub trait Store: Send + Sync {
    /// Makes a change and, when it is asked for under an idempotency key, says what becomes of that, both in one
    /// transaction: with an error nothing is changed. [`crate::resources`] alone calls this, for shared memory has to
    /// follow.
    fn change<'a>(&'a self, change: &'a Change, receipt: Option<&'a Receipt>) -> Later<'a, ()>;

    /// Whether the database answers.
    fn ping(&self) -> Later<'_, ()>;

    /// The organisation of an installation with one of them.
    fn first_org(&self) -> Later<'_, Option<String>>;
    /// Adds an organisation.
    fn add_org<'a>(&'a self, id: &'a str, now_ms: i64) -> Later<'a, ()>;

    /// Adds an API key.
    fn add_api_key<'a>(&'a self, key: &'a ApiKey) -> Later<'a, ()>;
    /// The API key with this hash, unless revoked.
    fn api_key<'a>(&'a self, sha256: &'a str) -> Later<'a, Option<ApiKey>>;

    /// One live input.
    fn live_input<'a>(&'a self, org: &'a str, id: &'a str) -> Later<'a, Option<LiveInput>>;
    /// A page of an organisation's live inputs.
    fn live_inputs<'a>(&'a self, org: &'a str, page: Page<'a>) -> Later<'a, Vec<LiveInput>>;
    /// Every live input of every organisation.
    fn all_live_inputs(&self) -> Later<'_, Vec<LiveInput>>;
    /// One signing key, revoked or not.
    fn signing_key<'a>(&'a self, org: &'a str, id: &'a str) -> Later<'a, Option<SigningKey>>;
    /// A page of an organisation's signing keys.
    fn signing_keys<'a>(&'a self, org: &'a str, page: Page<'a>) -> Later<'a, Vec<SigningKey>>;
    /// The signing keys of every organisation, without those that were revoked before `since_ms`.
    fn signing_keys_known_since(&self, since_ms: i64) -> Later<'_, Vec<SigningKey>>;
    /// The key that the server mints with for this organisation.
    fn server_key<'a>(&'a self, org: &'a str) -> Later<'a, Option<SigningKey>>;
    /// Every setting of the shards.
    fn tunables(&self) -> Later<'_, Vec<TunedRow>>;
    /// Reserves an idempotency key for a request, or tells what became of the first request with it.
    fn begin_request<'a>(&'a self, org: &'a str, key: &'a str, fingerprint: &'a str, now_ms: i64) -> Later<'a, Begun>;
    /// Frees the key of a request that failed.
    fn abandon_request<'a>(&'a self, org: &'a str, key: &'a str) -> Later<'a, ()>;
}
