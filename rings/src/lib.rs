//! Shared-memory workspace: rings, tables, counters.

mod error;
pub mod schema;
mod skeleton;

pub use error::RingsError;
pub use skeleton::*;
