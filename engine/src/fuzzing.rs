//! What reads bytes of outsiders, callable with any bytes: for fuzzing and for nothing else.

pub use crate::quic::fuzzing::{capsules, webtransport};
