//! What can be changed, as one value: a row as it shall be. The same value changes the database and the tables of shared
//! memory, and the one before it takes the change back.

use super::{LiveInput, SigningKey, StoredAnswer, TunedRow};

/// A row as it shall be.
#[derive(Clone)]
pub enum Change {
    /// A live input with exactly these fields and keys, whether or not it is there already.
    PutLiveInput(LiveInput),
    /// No such live input, nor its keys.
    DeleteLiveInput {
        /// Owner.
        org: String,
        /// `lv_…`
        id: String,
    },
    /// A signing key with exactly these fields.
    PutSigningKey(SigningKey),
    /// No such signing key.
    DeleteSigningKey {
        /// Owner.
        org: String,
        /// `key_…`
        id: String,
    },
    /// A setting of the shards; taken back when it has no value.
    SetTunable(TunedRow),
}

/// What becomes of a reserved idempotency key, together with the change that was asked for under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The organisation whose request it is.
    pub org: String,
    /// The idempotency key.
    pub key: String,
    /// The answer, kept for whoever repeats the request; `None` frees the key.
    pub answer: Option<StoredAnswer>,
}
