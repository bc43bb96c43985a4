//! `streams doctor`

use std::time::Duration;

use serde_json::json;
use streams_operator::configure::system::System;
use streams_operator::doctor::{examine, text};
use streams_operator::screen::Screen;

use super::configure::TargetArgs;
use crate::output::Output;
use crate::{Error, Global};

/// Steal time is measured for so long.
const SAMPLE: Duration = Duration::from_secs(1);

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    target: TargetArgs,
}

pub fn run(global: &Global, args: &DoctorArgs, output: &Output) -> Result<(), Error> {
    let system = System::live();
    let plan = args.target.plan(global, &system)?;
    let report = examine(&system, &plan, SAMPLE);
    let value = json!({
        "shards": plan.shards,
        "interface": plan.interface.as_ref().ok(),
        "obstacles": report.obstacles,
        "fine": report.fine,
        "unknown": report.unknown,
        "summary": report.summary(),
    });
    output.show(&value, || text::report(&plan, &report, Screen::of_stdout()))
}
