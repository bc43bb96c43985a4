//! `streams doctor`

use std::time::Duration;

use serde_json::json;

use super::Global;
use super::configure::TargetArgs;
use super::output::Output;
use super::screen::{Paint, Screen};
use crate::Error;
use crate::operator::doctor::{Basis, Report, examine};
use crate::operator::plan::Plan;
use crate::operator::system::System;

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
    output.show(&value, || text(&plan, &report, Screen::of_stdout()))
}

fn text(plan: &Plan, report: &Report, screen: Screen) -> String {
    let on = plan.interface.as_ref().map_or("kernel sockets".to_owned(), |interface| format!("AF_XDP on {interface}"));
    let mut text = format!("{} shards, {on}. What stands between this machine and line rate:\n\n", plan.shards);
    for (index, obstacle) in report.obstacles.iter().enumerate() {
        let paint = if obstacle.basis == Basis::Stops { Paint::Red } else { Paint::Yellow };
        let number = screen.paint(paint, &format!("{:>2}", index + 1));
        text += &format!("{number}  {}\n", screen.wrapped(&obstacle.what, 4));
        let cost = format!("{} ({})", obstacle.cost, obstacle.basis.words());
        text += &format!("    costs  {}\n", screen.wrapped(&cost, 11));
        text += &format!("    do     {}\n", screen.wrapped(&obstacle.action, 11));
    }
    if !report.unknown.is_empty() {
        text += "\nNot known:\n";
        text += &report.unknown.iter().map(|line| format!("    {}\n", screen.wrapped(line, 4))).collect::<String>();
    }
    if !report.fine.is_empty() {
        text += &format!("\nFine: {}.\n", screen.wrapped(&report.fine.join(", "), 6));
    }
    text + &format!("\n{}\n", screen.paint(Paint::Bold, &report.summary()))
}
