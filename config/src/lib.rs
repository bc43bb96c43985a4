//! `streams.toml`: every key, its default, its meaning and its check.
//!
//! ```text
//! streams.toml ──parse──▶ key by key: known? type? range? ──▶ ┐
//! STREAMS_<SECTION>_<KEY> (wins over the file) ─────────────▶ ├─▶ Config ──▶ engine, control, `streams`
//! command-line flags (win over both, set by the caller) ────▶ ┘      └────▶ the text of `--print-config`
//! ```
//!
//! [`keys`] declares each key once; the struct, its default, the documentation in the file and the list of known names
//! all come from that one declaration. A mistake is reported with the file, the line and the key ([`ConfigError`]).
//!
//! ```
//! let config = streams_config::Config::parse("[ports]\nquic = 5000\n", "streams.toml".as_ref()).unwrap();
//! assert_eq!(config.ports.quic, 5000);
//! assert_eq!(config.ports.rtmp, 1935);
//! ```

mod error;
mod keys;
mod load;
mod print;
mod value;

pub use error::{ConfigError, Origin};
pub use keys::{Api, Config, Edge, Engine, Ingest, KEYS, KeyInfo, Log, Ports, Relay, SECTIONS, SectionInfo, Server};
pub use value::{Io, LogFormat, MetricsAccess, Poll, PowerOfTwo, Profile, Ranged, Seccomp, UdpIo, Value};
