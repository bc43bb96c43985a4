//! `streams monitor`

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use streams_control::datadir::DataDir;
use streams_operator::monitor::{self, INTERVAL_MAX, INTERVAL_MIN};

use crate::Error;
use crate::output::Output;
use crate::parse_duration;

/// Flags of `streams monitor`.
#[derive(Debug, clap::Args)]
pub struct MonitorArgs {
    /// Print one sample and end
    #[arg(long)]
    once: bool,
    /// Time between two samples, which rates are taken over
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        return Ok(interval);
    }
    Err("write a time from 100ms to 60s".to_owned())
}

/// Runs the command.
pub fn run(dir: &DataDir, args: &MonitorArgs, output: &Output) -> Result<(), Error> {
    if args.once {
        let report = monitor::once(dir, args.interval)?;
        return output.show(&monitor::json::report(&report, dir.root()), || monitor::text::report(&report, dir.root()));
    }
    if output.is_json() || !stdout().is_terminal() {
        let usage = "the full screen needs a terminal; add --once for one sample as text, --once --json for programs";
        return Err(Error::Usage(usage.to_owned()));
    }
    Ok(monitor::full_screen(dir, args.interval)?)
}
