//! What the whole-system tests share: a running stack of its own for each test, encoders, players.
//!
//! A [`Stack`] is `streams up` on a fresh data directory and free ports. Everything is driven as a user would drive it: the
//! `streams` command, ffmpeg over RTMP, and clients on real sockets. Processes are ended by their ids when their owner drops.
//!
//! A [`Testbed`] puts network between them: the stack in one namespace, its clients in another, and, when it is asked for, a bad
//! line between the two ([`Lane`], moved by the binary `streams-impair`).

mod chromium;
mod encoder;
mod go_live;
mod https;
mod impair;
mod junk;
mod moqt;
mod peers;
mod port;
mod probe;
mod recording;
mod stack;
mod testbed;
mod wait;
mod watcher;
mod whip;

use std::path::PathBuf;

pub use chromium::{Chromium, report};
pub use encoder::Encoder;
pub use go_live::GoLive;
pub use https::{Answered, Https};
pub use impair::{Counters, Fate, Impairment, Lane, REORDER_HOLD};
pub use junk::{Flood, INITIAL_LEN, Noise};
pub use moqt::{Answer, Moqt};
pub use peers::ffmpeg_9;
pub use port::{FRAME_LEN_MAX, Port, interface_is_gone};
pub use probe::{decode_errors, probe, probe_refresh};
pub use recording::{camera_played_well, played_well};
pub use stack::{Stack, binary};
pub use streams_harness::{
    Film, Input, Namespace, Options, Owned, Ports, Signal, Urls, processes_named, repo, signal as kill,
};
pub use testbed::{Forwarder, Testbed};
pub use wait::{eventually, eventually_some};
pub use watcher::Watcher;
pub use whip::{WhipEncoder, WhipInput};

/// The file of a film; encoded by the first who asks, while all others wait.
pub fn film(film: Film) -> PathBuf {
    streams_harness::film::film(film).unwrap_or_else(|error| panic!("{error}"))
}
