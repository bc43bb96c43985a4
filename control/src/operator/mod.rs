//! The operator's side: preparing a machine (`streams configure`) and saying what slows it (`streams doctor`).
//!
//! ```text
//! streams.toml, flags ──▶ Plan ─┐
//! /proc /sys /etc, netlink ─▶ System ─┴─▶ Stage::items ──▶ Finding ──▶ table, JSON, doctor
//!                                                │ what is missing or wrong
//!                                                ▼
//!                         Journal (value before) ──▶ Knob::write ──▶ Journal (value after)      init
//!                         Journal, newest first ──▶ Knob::write (value before)                  fini
//! ```
//!
//! A [`stage::Stage`] only says how things are and how they should be; changing and putting back is the same for all.

pub mod doctor;
pub mod finding;
pub mod journal;
pub mod knob;
mod netlink;
pub mod nic;
pub mod plan;
mod root_folder;
pub mod stage;
pub mod stages;
pub mod system;
#[cfg(test)]
pub(crate) mod testing;
