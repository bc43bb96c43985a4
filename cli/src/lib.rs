//! The `streams` command, as a library: its manual pages and completions are made of [`Cli`] too.
//!
//! ```text
//!  streams up ──▶ launcher ──▶ starts streams-control and streams-engine, watches both
//!  streams live, signing-key, playback-url, tune, drain, kick ──▶ client ──HTTPS──▶ API of control
//!  streams play ──▶ streams_sdk        streams configure, doctor, monitor ──▶ streams_operator
//! ```

mod client;
mod commands;
mod error;
mod launcher;
mod output;
mod signals;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use streams_control::datadir::DataDir;

use crate::client::Client;
use crate::commands::{configure, doctor, drain, kick, live, monitor, play, playback, publish, signing, tune};
use crate::error::Error;
use crate::launcher::UpArgs;
use crate::output::Output;

/// Live broadcasts: push once by RTMP, watch over MoQT.
#[derive(Debug, Parser)]
#[command(name = "streams", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Start with `streams up`, then `streams live create --name my-show` in a second terminal.\n\
    Exit codes: 0 done, 1 failed, 2 bad usage, 3 not found, 4 refused (auth), 5 unreachable.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Data directory [default: the XDG data folder + /streams]
    #[arg(long, global = true, value_name = "DIR", env = "STREAMS_DATA")]
    pub data: Option<PathBuf>,
    /// API to talk to [default: that of the data directory]
    #[arg(long, global = true, value_name = "URL", env = "STREAMS_API")]
    pub api: Option<String>,
    /// API key [default: that of the data directory]
    #[arg(long, global = true, value_name = "KEY", env = "STREAMS_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

impl Global {
    /// A client of the API.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(&DataDir::at(&self.data_root()?), self.api.as_deref(), self.api_key.as_deref())
    }

    fn data_root(&self) -> Result<PathBuf, Error> {
        let mut config = streams_config::Config::default();
        config.server.data = self.data.clone().unwrap_or_default();
        Ok(streams_control::settings::data_root(&config)?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start control and engine, and watch them until Ctrl-C
    ///
    /// SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed; `nohup` keeps it away) let sessions leave and then stop
    /// both; a second one stops them at once. Whichever of the two dies is started again, until it died five times within a
    /// minute; an engine that still serves then goes on, and the next `streams up` attaches to it.
    Up(UpArgs),
    /// Live inputs: what encoders push to
    #[command(subcommand)]
    Live(live::Live),
    /// Keys that playback tokens are signed with
    #[command(subcommand)]
    SigningKey(signing::Signing),
    /// Print signed URLs for viewers
    PlaybackUrl(playback::PlaybackUrlArgs),
    /// Watch a broadcast and write it to a file
    Play(play::PlayArgs),
    /// Publish a file or a pipe to a live input
    Publish(publish::PublishArgs),
    /// Let sessions leave and accept no new ones
    Drain(drain::DrainArgs),
    /// Close one session
    Kick(kick::KickArgs),
    /// Prepare this machine: check, change, put back
    #[command(subcommand)]
    Configure(configure::Configure),
    /// Say what stops this machine from line rate, most important first
    Doctor(doctor::DoctorArgs),
    /// Show what the engine does, from shared memory alone
    Monitor(monitor::MonitorArgs),
    /// Settings of the shards that may change while they run
    #[command(subcommand)]
    Tune(tune::Tune),
    /// Run a program in a session of its own (used by `up`)
    #[command(hide = true)]
    Detached(launcher::DetachedArgs),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let output = Output::new(global.json);
    match run(global, command, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            error.exit_code()
        }
    }
}

fn run(global: Global, command: Command, output: &Output) -> Result<(), Error> {
    let command = match command {
        Command::Detached(args) => return Err(launcher::detached(&args)),
        Command::Configure(command) => return configure::run(&global, &command, output),
        Command::Doctor(args) => return doctor::run(&global, &args, output),
        command => command,
    };
    // One thread: children must be started by a thread that lives as long as this process, for the kernel ties their
    // parent-death signal to it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::file("start", "the asynchronous runtime"))?;
    runtime.block_on(async {
        match command {
            Command::Up(args) => launcher::up(global.data.clone(), args, output).await,
            Command::Live(command) => live::run(&global.client()?, command, output).await,
            Command::SigningKey(command) => signing::run(&global.client()?, command, output).await,
            Command::PlaybackUrl(args) => playback::run(&global.client()?, args, output).await,
            Command::Play(args) => play::run(&DataDir::at(&global.data_root()?), args, output).await,
            Command::Publish(args) => publish::run(&DataDir::at(&global.data_root()?), args, output).await,
            Command::Drain(args) => drain::run(&global.client()?, args, output).await,
            Command::Kick(args) => kick::run(&global.client()?, args, output).await,
            Command::Monitor(args) => monitor::run(&DataDir::at(&global.data_root()?), &args, output),
            Command::Tune(command) => tune::run(&global.client()?, command, output).await,
            Command::Detached(args) => Err(launcher::detached(&args)),
            Command::Configure(command) => configure::run(&global, &command, output),
            Command::Doctor(args) => doctor::run(&global, &args, output),
        }
    })
}

/// `90`, `90s`, `15m`, `1h`, `2d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)).filter(|_| unit_ms > 0) {
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err("write a number and a unit: 500ms, 90s, 15m, 1h, 2d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "h", "1w", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
