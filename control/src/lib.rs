//! The control process.
//!
//! ```text
//!  streams live create ──HTTPS──▶ http ──▶ resources ─┬▶ store (SQLite)                       control process
//!                                                      └▶ program ──tables, commands──▶ shared memory ──▶ shards
//!                                         program ◀─runtime, counters, events── shared memory ◀── shards
//!  browser ──▶ http (player page, certificate hashes)     prometheus ──▶ metrics
//! ```
//!
//! No media byte passes through here, and the shards go on when this process dies: the tables stay in shared memory
//! and the next control process writes every entry again ([`program`]).

pub mod clock;
pub mod credentials;
pub mod datadir;
pub mod endpoints;
mod error;
pub mod http;
pub mod ids;
pub mod keys;
pub mod metrics;
pub mod process;
pub mod program;
mod provision;
pub mod resources;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
pub mod tls;

pub use error::Error;
