//! What one shard knows of the rest: control's tables, and what is published on the other shards.
//!
//! Both are mirrors of shared memory that others write. A shard looks things up in its own maps and reads an entry again only
//! when its version moved.

mod announced;
mod tables;

pub use announced::Announced;
pub use tables::{Changes, KeyOwner, ReadStats, Tables, sha256_hex};
