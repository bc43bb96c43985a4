//! What the whole-system tests share: a running stack of its own for each test, encoders, players.
//!
//! A [`Stack`] is `streams up` on a fresh data directory and free ports. Everything is driven as a user would drive it: the
//! `streams` command, ffmpeg over RTMP, and clients on real sockets. Processes are ended by their ids when their owner drops.

mod encoder;
mod film;
mod moqt;
mod process;
mod stack;
mod wait;
mod watcher;

pub use encoder::Encoder;
pub use film::{Film, decode_errors, film, probe};
pub use moqt::{Answer, Moqt};
pub use process::{Owned, kill, processes_named};
pub use stack::{Input, Options, Stack, Urls, binary, repo};
pub use wait::{eventually, eventually_some};
pub use watcher::Watcher;
