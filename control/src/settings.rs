//! Flags, environment and `streams.toml` as one configuration and one data directory.

use std::net::IpAddr;
use std::path::PathBuf;

use streams_config::{Config, Io, Poll, Value};

use crate::Error;
use crate::datadir::DataDir;

/// The flags that `streams up` and `streams-control` share.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Configuration file [default: DIR/streams.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to bind and to print in URLs [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub host: Option<IpAddr>,
    /// Shards, one thread each [default: one a core, two at least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// Packet backend: auto, udp or xdp:INTERFACE
    #[arg(long, value_parser = parse_value::<Io>)]
    pub io: Option<Io>,
    /// How shards wait: adaptive or busy
    #[arg(long, value_parser = parse_value::<Poll>)]
    pub poll: Option<Poll>,
    /// Folder of the built player page [default: from the program's folder, ../share/streams/web or ../../sdk/web/dist]
    #[arg(long, value_name = "DIR", env = "STREAMS_WEB_DIR")]
    pub web_dir: Option<PathBuf>,
}

/// Reads a flag as the value of a key.
pub fn parse_value<T: Value>(text: &str) -> Result<T, String> {
    T::from_text(text).ok_or_else(|| format!("it must be {}", T::kind()))
}

/// What a process starts with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration after file, environment and flags; `server.data` is the data directory.
    pub config: Config,
    /// The file that was read, to be named to the other processes.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Reads the file (`--config`, or `streams.toml` in the data directory), the environment, then puts the flags on top.
    pub fn load(data: Option<PathBuf>, flags: &Flags) -> Result<Self, Error> {
        let mut usual = Config::default();
        usual.server.data = data.clone().unwrap_or_default();
        let file = match &flags.config {
            Some(file) => Some(file.clone()),
            None => Some(DataDir::at(&data_root(&usual)?).config()).filter(|file| file.is_file()),
        };
        let mut config = Config::load(file.as_deref(), std::env::vars())?;
        if let Some(data) = data {
            config.server.data = data;
        }
        config.server.data = data_root(&config)?;
        config.server.host = flags.host.unwrap_or(config.server.host);
        config.engine.shards = flags.shards.map_or(config.engine.shards, usize::from);
        config.engine.io = flags.io.clone().unwrap_or(config.engine.io);
        config.engine.poll = flags.poll.unwrap_or(config.engine.poll);
        config.check()?;
        Ok(Self { config, file })
    }
}

/// The data directory of a configuration.
pub fn data_root(config: &Config) -> Result<PathBuf, Error> {
    config.data_dir(|name| std::env::var_os(name)).ok_or(Error::NoDataDir)
}
