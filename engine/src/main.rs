//! `streams-engine`: the data plane as a process. `streams up` or a service manager starts it beside the control process.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use streams_config::{Config, Io, Poll, Value};
use streams_engine::{EngineSettings, Flags, end_process_on_panic, start};

/// glibc keeps what was once in use by many small pieces: after a flood of them 1.6 GB stayed resident of which 9 MB were in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!(error = message, "the engine ends");
            // Nobody to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "streams-engine: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), String> {
    let config = configuration(&flags)?;
    streams_logs::start(&config.log, flags.log_file.as_deref()).map_err(|error| error.to_string())?;
    end_process_on_panic();
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("cannot watch signals: {error}"))?;
    let engine = start(&EngineSettings { data: flags.data, config }).map_err(|error| error.to_string())?;
    let handle = signals.handle();
    std::thread::scope(|scope| {
        let stopper = engine.stopper();
        scope.spawn(move || {
            if signals.forever().next().is_some() {
                stopper.stop();
            }
        });
        let ended = engine.join().map_err(|error| error.to_string());
        handle.close();
        ended
    })
}

fn configuration(flags: &Flags) -> Result<Config, String> {
    let mut config = Config::load(flags.config.as_deref(), std::env::vars()).map_err(|error| error.to_string())?;
    config.server.host = flags.host.unwrap_or(config.server.host);
    config.ports.quic = flags.port.unwrap_or(config.ports.quic);
    config.ports.rtmp = flags.rtmp_port.unwrap_or(config.ports.rtmp);
    config.engine.shards = flags.shards.unwrap_or(config.engine.shards);
    if let Some(io) = &flags.io {
        config.engine.io =
            Io::from_text(io).ok_or_else(|| format!("--io {io}: expected auto, udp or xdp:INTERFACE"))?;
    }
    if let Some(poll) = &flags.poll {
        config.engine.poll =
            Poll::from_text(poll).ok_or_else(|| format!("--poll {poll}: expected adaptive or busy"))?;
    }
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}
