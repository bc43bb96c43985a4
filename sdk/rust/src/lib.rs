//! Watching and publishing a broadcast over MoQ Transport on raw QUIC.
//!
//! ```text
//!   moqt://HOST:PORT/playback/<id>?tok=<jwt>
//!        |  SessionUrl
//!        v
//!   Client (UDP socket, TLS) --- Viewer (one session) <--> relay_core::client (protocol, without I/O)
//!                                  |
//!                                  |  ViewerEvent: namespace, objects with their arrival
//!                                  v
//!   play(): catalog -> renditions -> group order -> one fragmented MP4 with picture and sound
//! ```
//!
//! [`play`] does everything for one person watching: it picks the tracks, writes one file, and reconnects. [`publish`] is the
//! other way: it reads a file or a pipe, packages it as an engine does, and reconnects. [`Viewer`] is the
//! session by itself, for programs with many viewers in one runtime. Both stand on [`Session`], which speaks the protocol's own
//! terms.

mod error;
mod mp4;
mod options;
mod play;
mod publish;
mod stopping;
mod tls;
mod url;
mod viewer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::{ClientError, ClientErrorKind};
pub use options::{OpenPart, PlayEvent, PlayOptions, PlaySummary, Stop, Trust};
pub use play::play;
pub use publish::{PublishEvent, PublishInput, PublishOptions, PublishSummary, publish};
pub use tls::PinnedVerifier;
pub use url::SessionUrl;
pub use viewer::{Client, Delivery, Session, TrackId, Viewer, ViewerEvent};
