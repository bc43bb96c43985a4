//! Broadcasts whose home is this shard: one life cycle, whatever the media comes from.
//!
//! ```text
//!   encoder (RTMP) -- access units --> Source::Encoder: normaliser, packager --.
//!                                                                              |--> tracks of the relay
//!   MoQT sessions --- finished tracks, straight into the relay: Source::Moqt --'
//!
//!   inputs: admission, home, newest wins, reconnect window, status, health     (the same for every source)
//! ```

mod encoder;
mod group_store;
mod home;
mod inputs;
mod moqt;
mod runtime;
mod sessions;
mod source;
mod trouble;

pub use group_store::{FileWork, GroupStore};
pub use inputs::{Admission, InputContext, Inputs, Kick, Publication};
