//! The stack that is measured: one that runs already, or `streams up` on a folder of its own.

use std::path::PathBuf;

use streams_harness::{Engine, Namespace, Options, Streams};
use streams_sdk::Trust;

use crate::error::BenchError;
use crate::report::Report;

pub use streams_harness::Input;

/// Lines of the engine's log that are told.
const COMPLAINTS_MAX: usize = 20;

/// A live input that takes SRT.
#[derive(Debug, Clone)]
pub struct SrtInput {
    /// Its id and key.
    pub input: Input,
    /// Where its encoders push.
    pub address: std::net::SocketAddr,
}

/// Which stack to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct StackArgs {
    /// Start a stack of its own on free ports and end it afterwards
    #[arg(long)]
    pub start: bool,
    /// Data directory of a stack that runs already
    #[arg(long, value_name = "DIR", env = "STREAMS_DATA", conflicts_with = "start")]
    pub data: Option<PathBuf>,
    /// Shards of the stack that --start starts
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub shards: usize,
    /// How the shards of that stack wait
    #[arg(long, default_value = "adaptive", value_parser = ["adaptive", "busy"])]
    pub poll: String,
}

/// A stack of our own on loopback, with the defaults of everything else.
pub fn on_loopback(shards: usize, poll: &str) -> Options {
    Options { shards, engine: format!("poll = \"{poll}\""), ..Options::default() }
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    streams: Streams,
    engine: Engine,
    /// Set when it was started here. Ends when it drops.
    _started: Option<streams_harness::Stack>,
}

impl Stack {
    /// Finds or starts the stack.
    ///
    /// # Errors
    /// [`BenchError::NoStack`], and whatever keeps a stack from starting.
    pub fn open(args: &StackArgs) -> Result<Self, BenchError> {
        if args.start {
            return Self::start(&on_loopback(args.shards, &args.poll));
        }
        let data = args.data.as_deref().ok_or(BenchError::NoStack)?;
        let engine = Engine::of(data)?;
        Ok(Self { engine, streams: Streams::new(data, Namespace::here())?, _started: None })
    }

    /// Starts a stack of our own.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn start(options: &Options) -> Result<Self, BenchError> {
        let started = streams_harness::Stack::start(options)?;
        Ok(Self { engine: started.engine()?, streams: started.streams.clone(), _started: Some(started) })
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The certificate that viewers pin.
    ///
    /// # Errors
    /// [`BenchError::File`] when there is none.
    pub fn trust(&self) -> Result<Trust, BenchError> {
        let path = self.streams.data.join("tls").join("cert.pem");
        Ok(Trust::PinnedCertPem(std::fs::read(&path).map_err(BenchError::file("read", &path))?))
    }

    /// Makes a live input.
    ///
    /// # Errors
    /// [`BenchError::Harness`] when the command fails.
    pub fn live_input(&self, name: &str) -> Result<Input, BenchError> {
        Ok(self.streams.live_input(name)?)
    }

    /// Makes a live input that takes SRT.
    ///
    /// # Errors
    /// [`BenchError::Harness`] when the command fails.
    pub fn srt_input(&self, name: &str) -> Result<SrtInput, BenchError> {
        let created = self.streams.json(&["live", "create", "--name", name, "--ingest", "srt"])?;
        let text = |key: &str| created.pointer(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        let (Some(id), Some(key), Some(url)) = (text("/id"), text("/stream_key"), text("/urls/srt")) else {
            return Err(BenchError::Srt("`live create` tells no id, key or URL".to_owned()));
        };
        let address = url.trim_start_matches("srt://").split('?').next().and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| BenchError::Srt(format!("{url} is no address")))?;
        Ok(SrtInput { input: Input { id, key, rtmp: String::new() }, address })
    }

    /// Deletes a live input, so that a stack that goes on keeps nothing of a measurement.
    ///
    /// # Errors
    /// [`BenchError::Harness`] when the command fails.
    pub fn delete(&self, input: &Input) -> Result<(), BenchError> {
        Ok(self.streams.delete(input)?)
    }

    /// The `moqt:` URL of an input, with a fresh token of an hour.
    ///
    /// # Errors
    /// [`BenchError::Harness`] when the command fails.
    pub fn moqt_url(&self, input: &Input) -> Result<String, BenchError> {
        Ok(self.streams.urls(&input.id)?.moqt)
    }

    /// After a measurement that failed: prints the newest lines of the engine's log that are more than notes.
    pub fn tell_complaints(&self, measured: &Result<Report, BenchError>) {
        if measured.as_ref().is_ok_and(|report| report.failures().is_empty()) {
            return;
        }
        for line in Engine::complaints(&self.streams.data, COMPLAINTS_MAX) {
            eprintln!("engine.log: {line}");
        }
    }
}
