//! The data plane: one shard a core, each a whole relay of its own.
//!
//! ```text
//!        QUIC datagrams                     RTMP (TCP)
//!              |                                |
//!   +----------v------------- shard 0 ----------v---------------+      +------------ shard 1 ------------+
//!   | backend -> rx link -> QUIC -> relay <- inputs (home here) |      |                                 |
//!   |    ^                            |  '--- media link -------|----->| relay -> QUIC -> backend -> wire|
//!   |    '---- trains <---- pump <----'  <--- ask links --------|<---->|                                 |
//!   +-----------------------------------------------------------+      +---------------------------------+
//!          |  tables, commands (read only)      ^ counters, events, status (written by the shards)
//!          '------------------ shared memory ---'---------------- control process
//! ```
//!
//! [`start`] makes the shared memory, reserves the ports and starts the shards; [`Stopper::stop`] ends them in good order.

mod address;
mod backend;
mod broadcast;
mod directory;
mod edge;
pub mod embedded;
mod error;
mod flags;
pub mod fuzzing;
mod host;
mod keys;
mod last_words;
mod ports;
pub mod quic;
mod shard;
pub mod stages;
mod start;

pub use error::EngineError;
pub use flags::Flags;
pub use host::PollMode;
pub use last_words::end_process_on_panic;
pub use start::{Engine, EngineSettings, Stopper, run_dir, start};
