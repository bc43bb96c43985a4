//! Shared memory between threads and processes that do not trust each other's speed: rings, tables, counters.
//!
//! The data's way through a link:
//!
//! ```text
//!   LinkWriter::publish(sig, payload)                                    LinkReader::poll(wanted, out)
//!        |                                                                     ^  4 still mine? seq == S and
//!        | 1 reserved_pos += len, then payload words                           |    reserved_pos - pos <= data_len
//!        v                                                                     |  3 copy words out, fence
//!   dcache  [ ..... | payload of S-1 | payload of S | reserved ... ]  ---------+
//!                                      ^ chunk, sz                             |
//!   mcache  [ S-2 | S-1 | S: seq sig chunk sz ctl ts | S-5 | S-4 | S-3 ]  -----+  2 seq == S? wanted(sig)?
//!        ^                                                                     |
//!        | 2 seq = S-1, body, seq = S (frees S - depth)         fctl <- fseq --+  5 only on reliable links
//! ```
//!
//! The writer never waits for a reader it does not know: a reader that is too slow finds out (steps 2 and 4), counts, and goes on
//! at the newest place. On the few reliable links the writer keeps to credits (`ReliableWriter`).
//!
//! A **workspace** is one file, mapped by every process that shares it: a header with magic, layout version and build id, a
//! directory of named objects, and the objects, each in a module of its own whose head shows its layout:
//!
//! | object | module | writer | readers |
//! |---|---|---|---|
//! | mcache + dcache = link | `mcache`, `dcache`, `link` | one | any, unknown to the writer |
//! | fseq | `fseq` | one consumer | the link's writer |
//! | cnc | `cnc` | its owner | any |
//! | table | `table` | one | any, never held up by a writer that died |
//! | counters | `counters` | one thread | any, a monitor mapped read-only included |
//! | words | `words` | all threads of the owner, by compare-and-swap | the same |
//!
//! Every shared word is an atomic `u64` and every payload is copied out before it is looked at, so nothing that another process
//! writes can be a data race or move a reader outside of its object. What the bytes mean is
//! for those who share them to agree on.
//!
//! Any process may be killed at any time. Its peers lose at most the message it was writing: a writer that takes over goes on
//! behind the last whole frag, a reader at its fseq.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

mod array;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod clock;
mod cnc;
mod counters;
mod dcache;
#[cfg(not(loom))]
mod directory;
mod error;
mod fctl;
mod fseq;
mod link;
mod link_reader;
mod link_view;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(not(loom))]
mod mapping;
mod mcache;
mod payload;
mod region;
mod reliable;
mod sync;
mod table;
#[cfg(all(test, not(loom)))]
mod testing;
#[cfg(not(loom))]
mod words;
#[cfg(not(loom))]
mod workspace;

#[cfg(not(loom))]
pub use builder::WorkspaceBuilder;
#[cfg(not(loom))]
pub use clock::{now_ns, now_us};
pub use cnc::{Cnc, Signal};
pub use counters::Counters;
#[cfg(not(loom))]
pub use directory::ObjectKind;
pub use error::RingsError;
pub use fseq::Fseq;
pub use link::LinkWriter;
pub use link_reader::{LinkReader, Polled, ReaderStats};
pub use link_view::LinkView;
pub use reliable::{Full, ReliableReader, ReliableWriter};
pub use table::{Table, TableRead};
#[cfg(not(loom))]
pub use words::Words;
#[cfg(not(loom))]
pub use workspace::{Access, Workspace};
