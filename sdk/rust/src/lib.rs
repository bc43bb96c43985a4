//! Watching a broadcast over MoQ Transport on raw QUIC.
//!
//! ```text
//!   moqt://HOST:PORT/playback/<id>?tok=<jwt>
//!        |  PlaybackUrl
//!        v
//!   Client (UDP socket, TLS) --- Viewer (one session) <--> relay_core::client (protocol, without I/O)
//!                                  |
//!                                  |  ViewerEvent: namespace, objects with their arrival
//!                                  v
//!   play(): catalog -> renditions -> group order -> one fragmented MP4 with picture and sound
//! ```
//!
//! [`play`] does everything for one person watching: it picks the tracks, writes one file, and reconnects. [`Viewer`] is the
//! session by itself, for programs with many viewers in one runtime. Both stand on [`Session`], which speaks the protocol's own
//! terms.

mod error;
mod mp4;
mod options;
mod play;
mod tls;
mod url;
mod viewer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::{PlayError, PlayErrorKind};
pub use options::{OpenPart, PlayEvent, PlayOptions, PlaySummary, Stop, Trust};
pub use play::play;
pub use tls::PinnedVerifier;
pub use url::PlaybackUrl;
pub use viewer::{Client, Delivery, Session, TrackId, Viewer, ViewerEvent};
