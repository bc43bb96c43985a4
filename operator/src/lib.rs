//! What an operator does to a machine and sees of an engine. The `streams` command prints what this crate finds.
//!
//! ```text
//!  /proc /sys /etc, netlink ──▶ configure ──▶ settings as they are and should be, changed, put back
//!                                   └───────▶ doctor ──▶ what stands between this machine and line rate
//!  shared memory, read-only ──▶ monitor ──▶ screen, text, JSON
//!  answers of the API ────────▶ tune ─────▶ what the shards run with
//! ```

pub mod configure;
pub mod doctor;
mod error;
pub mod monitor;
#[cfg(test)]
mod scratch;
pub mod screen;
pub mod text;
pub mod tune;

pub use error::Error;
