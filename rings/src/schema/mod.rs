//! What the two workspaces hold: documents, commands, events, counters, object names and sizes, and the run folder.
//!
//! Documents travel as JSON in table entries and link messages. Readers ignore unknown fields and fill missing ones with
//! defaults, so that two neighbouring builds read each other during a rolling upgrade.

mod counters;
mod documents;
mod layout;
mod messages;
mod run_folder;
mod tunables;

pub use counters::{Counter, CounterKind};
pub use documents::{
    HexBytes, Home, InputEntry, KeyHash, ResourceEntry, RuntimeEntry, RuntimeTrack, SigningKeyEntry, TrackEntry,
};
pub use layout::{ShardsSizes, control_workspace, names, shards_workspace, shards_workspace_of};
pub use messages::{Command, Event, MESSAGE_SIG};
pub use run_folder::{create_run_dir, current_path, generation_path, next_generation, run_dir, switch_current};
pub use tunables::{Applies, Domain, Tunable, TunableError, TunableValues, Tunables};

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("document is not what its table or link holds: {0}; the two processes differ by more than one layout version")]
pub struct DocumentError(#[from] serde_json::Error);

/// Encodes a document for a table entry or a link message.
pub fn encode<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, DocumentError> {
    Ok(serde_json::to_vec(document)?)
}

/// Decodes a document from a table entry or a link message. Unknown fields are ignored.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    Ok(serde_json::from_slice(bytes)?)
}
