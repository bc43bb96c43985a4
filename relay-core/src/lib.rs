//! Media over QUIC Transport without any input or output: bytes, stream events and the time go in, bytes and actions come out.
//!
//! ```text
//!   stream bytes --> wire::ControlReader / SubgroupReader / FetchReader --> messages and objects
//!                                                                             |
//!                      token::verify <-- Directory (keys, resources)          v
//!                                            ^                    relay::Relay (one shard's sessions,
//!                                            +------------------- tracks, caches, subscriptions)
//!                                                                             |
//!   stream bytes <-- Transmit <-- relay::Relay::pump <-- framed objects, shared by all viewers
//! ```
//!
//! `client` is the other end of the same wire: the state machine of a viewer (and of a small publisher for simulations).
//!
//! No socket, no clock, no runtime: everything here runs the same in a test with virtual time as in the engine.

#![warn(unreachable_pub)]

pub mod client;
mod directory;
mod error;
pub mod fuzzing;
pub mod relay;
mod send;
pub mod token;
mod transmit;
pub mod wire;

pub use directory::{Directory, Resource, SigningAlgorithm, SigningKey};
pub use error::{AuthError, AuthFault, DecodeError, Error, Malformed};
