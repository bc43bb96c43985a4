//! Sessions, relays and shards in one virtual time. A test is a story between them.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

pub mod net;
pub mod pipe;
pub mod random;
pub mod record;
pub mod tables;

pub use net::{ClientId, Net, Shards};
pub use pipe::Link;
pub use random::{Random, runs, seed};
pub use record::{Record, payload};
pub use tables::{START_S, Tables, claims, forged, live, namespace, signed, token, track};
