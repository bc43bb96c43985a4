//! The command line of `streams-engine`; its manual page is made of it too.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;

/// The Streams data plane: QUIC, MoQT relay and ingest, one shard a core.
#[derive(Debug, Parser)]
#[command(name = "streams-engine", version)]
pub struct Flags {
    /// The data directory that the control process has prepared.
    #[arg(long, env = "STREAMS_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// streams.toml; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address that every port binds to.
    #[arg(long, value_name = "ADDR")]
    pub host: Option<IpAddr>,
    /// UDP port of QUIC.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// TCP port of RTMP.
    #[arg(long, value_name = "PORT")]
    pub rtmp_port: Option<u16>,
    /// Shards, one thread each; 0: one a core, two at least.
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,
    /// Packet backend: auto, udp or xdp:INTERFACE.
    #[arg(long, value_name = "BACKEND")]
    pub io: Option<String>,
    /// adaptive or busy.
    #[arg(long, value_name = "MODE")]
    pub poll: Option<String>,
    /// Log to this file, which is put aside when it is full, instead of standard error.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}
