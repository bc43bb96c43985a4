//! What engine and control say to each other, and where each finds it in the other's shared memory.
//!
//! ```text
//!   control --> tables inputs, resources, signing_keys, tunables ---> shards       documents: InputEntry, ResourceEntry, …
//!           --> cmd.<i> ------------------------------------------->               Command
//!           <-- events.<i> <----------------------------------------               Event
//!           <-- table runtime.<i> <---------------------------------               RuntimeEntry
//!           <-- counters shard.<i>, tunables.<i> <------------------               Counter, Tunable: one index each
//!                                                                      shard <-> shard: table tracks.<i>, words homes
//!
//!   /dev/shm/streams-<hash>/ control.<generation>, shards.<generation>, and a link `current` to the newest of each
//! ```
//!
//! The workspaces themselves, and how bytes cross without a lock, are `streams-rings`. Here is what the bytes mean. Documents
//! travel as JSON in table entries and link messages. Builds N and N-1 read each other during a rolling upgrade: readers ignore
//! unknown fields and fill missing ones with defaults, words (`words`) keep a value that they do not know, and an index never changes its
//! meaning. Nothing that one process decides by is a sentence of the other: reasons are for people, words for programs.

mod counters;
mod documents;
mod layout;
mod messages;
mod run_folder;
mod tunables;
mod words;

pub use counters::{Counter, CounterKind, Section};
pub use documents::{
    HexBytes, Home, InputEntry, KeyHash, Passphrase, ResourceEntry, RuntimeEntry, RuntimeLink, RuntimeTrack,
    SigningKeyEntry, TrackEntry,
};
pub use layout::{ShardsSizes, control_workspace, names, shards_workspace, shards_workspace_of};
pub use messages::{Command, Event, MESSAGE_SIG};
pub use run_folder::{create_run_dir, current_path, generation_path, next_generation, run_dir, switch_current};
pub use tunables::{Applies, Domain, Tunable, TunableError, TunableValues, Tunables};
pub use words::{CloseCause, IngestKind, InputState, KeyAlgorithm, Protocol, SessionKind};

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("document is not what its table or link holds: {0}; the two processes differ by more than one layout version")]
pub struct DocumentError(#[from] serde_json::Error);

/// Encodes a document for a table entry or a link message.
///
/// # Errors
/// [`DocumentError`] when a value has no JSON form.
pub fn encode<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, DocumentError> {
    Ok(serde_json::to_vec(document)?)
}

/// Decodes a document from a table entry or a link message. Unknown fields are ignored.
///
/// # Errors
/// [`DocumentError`] when the bytes are no such document.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    Ok(serde_json::from_slice(bytes)?)
}
