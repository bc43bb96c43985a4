//! What the whole-system tests and `streams-bench` both need: a real stack beside the program that looks at it.
//!
//! ```text
//!  Stack ──▶ `streams up` on free Ports, in a Namespace, on a data directory of its own; ended when it drops
//!    ├──▶ Streams   the `streams` command on that directory
//!    └──▶ Engine    what its shared memory tells
//!  Testbed ──▶ scripts/testbed: two Namespaces with a veth pair between them
//!  film ──▶ the sample film, encoded once for all who ask, under a file lock (Turn)
//! ```
//!
//! Nothing here judges: whatever fails is a [`HarnessError`], which a test turns into a panic and a measurement into its end.

mod engine;
mod error;
pub mod film;
mod namespace;
mod ports;
mod process;
mod programs;
mod stack;
mod streams;
mod testbed;
mod turn;
mod wait;

pub use engine::{Engine, SILENCE_MAX};
pub use error::HarnessError;
pub use film::Film;
pub use namespace::Namespace;
pub use ports::Ports;
pub use process::{Owned, name_of, output_within, processes_named, signal};
pub use programs::{ffmpeg_9, program, python_with_aiortc, repo};
pub use rustix::process::Signal;
pub use stack::{Options, Stack};
pub use streams::{COMMAND_TIME_MAX, Input, Streams, Urls};
pub use testbed::Testbed;
pub use turn::Turn;
pub use wait::until;
