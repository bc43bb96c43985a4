//! SRT ingest (draft-sharabayko-srt-01, live mode): a shard's front, and one session an encoder.
//!
//! ```text
//!   datagram --> SrtFront::route: Induction  --> answered with a cookie, nothing is kept
//!                                 Conclusion --> SrtSession::open: cookie, stream id --> SessionEvent::Publish
//!                                 Connection --> the session of that socket id: loss recovery, decryption, latency
//!                                                                --> MPEG-TS (`ts`) --> access units
//! ```
//!
//! **Who may publish.** The stream id is the stream key, or `#!::r=<input>,m=publish,s=<key>` (the access-control syntax of libsrt).
//! A caller that encrypts needs the input's passphrase ([`crate::Session::unlock`]); one that does not is let in by its key alone.
//! Refusals carry the codes of that draft: callers print them as words.
//!
//! **Shards.** A cookie is good at every shard, as they share its secret, and a socket id names its shard
//! ([`SocketId`]): so a handshake may be given to another shard before anything was answered, and whatever comes later tells whose it is.
//!
//! **Memory.** Nothing before a cookie has come back; after acceptance at most [`SrtLimits::buffer_packets`] packets of 1.5 KiB.

mod front;
mod refusal;
mod session;
mod socket_id;
mod stream_id;

pub use front::{SrtFront, SrtFrontCounters, SrtLimits, SrtRoute};
pub use session::{Opened, SrtSession};
pub use socket_id::SocketId;
