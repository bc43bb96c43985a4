//! What the whole-system tests share: a running stack of its own for each test, encoders, players.
//!
//! A [`Stack`] is `streams up` on a fresh data directory and free ports. Everything is driven as a user would drive it: the
//! `streams` command, ffmpeg over RTMP, and clients on real sockets. Processes are ended by their ids when their owner drops.
//!
//! A [`Testbed`] puts network between them: the stack in one namespace, its clients in another, and, when it is asked for, a bad
//! line between the two ([`Lane`], moved by the binary `streams-impair`).

mod chromium;
mod encoder;
mod film;
mod impair;
mod junk;
mod moqt;
mod namespace;
mod port;
mod process;
mod recording;
mod stack;
mod testbed;
mod wait;
mod watcher;

pub use chromium::{Chromium, report};
pub use encoder::Encoder;
pub use film::{Film, decode_errors, film, probe, probe_refresh};
pub use impair::{Counters, Fate, Impairment, Lane, REORDER_HOLD};
pub use junk::{Flood, INITIAL_LEN, Noise};
pub use moqt::{Answer, Moqt};
pub use namespace::Namespace;
pub use port::{FRAME_LEN_MAX, Port, interface_is_gone};
pub use process::{Owned, kill, processes_named};
pub use recording::played_well;
use stack::binary_folder;
pub use stack::{Input, Options, Stack, Urls, binary, repo};
pub use testbed::{Forwarder, Testbed};
pub use wait::{eventually, eventually_some};
pub use watcher::Watcher;
