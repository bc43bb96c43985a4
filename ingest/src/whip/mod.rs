//! WebRTC ingest (WHIP, RFC 9725): one encoder's peer connection as a state machine over `str0m`.
//!
//! ```text
//!   offer (SDP) --> offer: checks --> WhipSession::accept --> answer
//!   datagrams ----> ICE, DTLS, SRTP, RTCP (str0m) --> frames --> track: H.264 by Annex B, Opus --> clock: times --> units
//!   PATCH --------> fragment --> candidates, or another ICE generation
//! ```
//!
//! **Publishing.** Whoever has the answer may be gone, so the request to publish ([`SessionEvent::Publish`](crate::SessionEvent))
//! comes once ICE and DTLS are through. No media is used before it was answered.
//!
//! **Key frames.** Browsers send none unless they are asked. They are asked at the start, every two seconds without one, and when
//! pictures were lost for good; then what cannot be decoded is left out until the next.
//!
//! **Memory.** An offer has at most [`OFFER_LEN_MAX`] bytes and a fragment [`FRAGMENT_LEN_MAX`]; str0m holds at most 4,096
//! packets a track for reordering, and 16 MiB of a frame that does not end.

mod answer;
mod clock;
mod fragment;
mod offer;
mod session;
mod stun;
mod track;
mod unfinished;

pub use fragment::{FRAGMENT_LEN_MAX, IceFragment};
pub use offer::{OFFER_LEN_MAX, OfferError};
pub use session::{IceAddresses, IceCredentials, WhipCounters, WhipLimits, WhipSession};
pub use stun::local_ufrag;
