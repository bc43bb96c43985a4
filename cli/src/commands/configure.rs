//! `streams configure check|init|fini [STAGE…]`

use std::path::PathBuf;

use serde_json::json;
use streams_config::Poll;
use streams_control::settings::{Flags, Settings, parse_value};
use streams_operator::configure::finding::Finding;
use streams_operator::configure::journal::DEFAULT_PATH;
use streams_operator::configure::plan::Plan;
use streams_operator::configure::stage::{Stage, Step};
use streams_operator::configure::stages::{STAGES, named};
use streams_operator::configure::system::System;
use streams_operator::configure::{self, Initialised, text};
use streams_operator::screen::Screen;

use crate::output::{Output, print};
use crate::{Error, Global};

/// What of `configure`.
#[derive(Debug, clap::Subcommand)]
pub enum Configure {
    /// Show how the machine is and how it should be; changes nothing and needs no root
    ///
    /// Exit code 0: all is ok, or only hints are open; 1: something must be done.
    #[command(after_help = stage_help())]
    Check {
        #[command(flatten)]
        stages: StageArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Change what is missing or wrong, noting each value before it changes (root)
    ///
    /// Numbers are only raised, never lowered. A second run changes nothing. Most changes last until the machine restarts: run
    /// this at every boot, before the engine.
    #[command(after_help = stage_help())]
    Init {
        #[command(flatten)]
        stages: StageArgs,
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        notes: NoteArgs,
        /// Also lower the interface's queue count when it is above the shard count
        #[arg(long)]
        lower_queues: bool,
    },
    /// Put back what init changed, newest first (root)
    ///
    /// It goes by what init noted. The flags of init may stay on the line and change nothing.
    #[command(after_help = stage_help())]
    Fini {
        #[command(flatten)]
        stages: StageArgs,
        #[command(flatten)]
        notes: NoteArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// Which stages.
#[derive(Debug, clap::Args)]
pub struct StageArgs {
    /// Stages [default: all]
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
}

/// Where init notes what it changed.
#[derive(Debug, clap::Args)]
pub struct NoteArgs {
    /// File of the values before
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    state: PathBuf,
}

/// What the machine is prepared for.
#[derive(Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// Configuration file [default: DIR/streams.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Packet backend: auto, udp or xdp:IFACE [default: engine.io of the configuration]
    #[arg(long, value_name = "IO")]
    io: Option<String>,
    /// Interface of AF_XDP; the same as --io xdp:IFACE
    #[arg(long, value_name = "IFACE", conflicts_with = "io")]
    interface: Option<String>,
    /// Shards [default: engine.shards of the configuration; one a core, two at least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// How shards wait: adaptive or busy [default: engine.poll of the configuration]
    #[arg(long, value_parser = parse_value::<Poll>)]
    poll: Option<Poll>,
}

impl TargetArgs {
    /// The plan of configuration and flags.
    pub fn plan(&self, global: &Global, system: &System) -> Result<Plan, Error> {
        let flags = Flags { config: self.config.clone(), shards: self.shards, poll: self.poll, ..Flags::default() };
        let config = Settings::load(global.data.clone(), &flags)?.config;
        let mut shown = self.shown();
        // Root's own data folder is another.
        if global.data.is_some() || !system.host().is_root() {
            shown.push(format!("--data {}", quoted(&config.server.data.to_string_lossy())));
        }
        let plan = Plan::new(system, config, self.io.as_deref(), self.interface.as_deref())?;
        Ok(Plan { flags: shown.join(" "), ..plan })
    }

    fn shown(&self) -> Vec<String> {
        let flags = [
            ("config", self.config.as_ref().map(|path| quoted(&path.to_string_lossy()))),
            ("io", self.io.clone()),
            ("interface", self.interface.clone()),
            ("shards", self.shards.map(|shards| shards.to_string())),
            ("poll", self.poll.map(|poll| poll.to_string())),
        ];
        flags.into_iter().filter_map(|(name, value)| Some(format!("--{name} {}", value?))).collect()
    }
}

/// A word that a shell takes as one.
fn quoted(text: &str) -> String {
    let plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+:@%,".contains(letter));
    if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn stage_help() -> String {
    let lines = STAGES.iter().map(|stage| format!("  {:<14} {}\n", stage.name(), stage.purpose()));
    format!("Stages:\n{}", lines.collect::<String>())
}

pub fn run(global: &Global, command: &Configure, output: &Output) -> Result<(), Error> {
    let system = System::live();
    match command {
        Configure::Check { stages, target } => {
            check(&system, &target.plan(global, &system)?, &named(&stages.stages)?, output)
        }
        Configure::Init { stages, target, notes, lower_queues } => {
            let plan = Plan { lower_queues: *lower_queues, ..target.plan(global, &system)? };
            init(&system, &plan, &named(&stages.stages)?, notes, &stages.stages, output)
        }
        Configure::Fini { stages, notes, .. } => fini(&system, &named(&stages.stages)?, notes, &stages.stages, output),
    }
}

fn check(system: &System, plan: &Plan, stages: &[&dyn Stage], output: &Output) -> Result<(), Error> {
    let findings = configure::check(system, plan, stages);
    let open: usize = findings.iter().map(Finding::open).sum();
    let value = json!({
        "ok": open == 0,
        "open": open,
        "shards": plan.shards,
        "interface": plan.interface.as_ref().ok(),
        "run_dir": plan.run_dir,
        "stages": findings,
    });
    output.show(&value, || text::table(plan, &findings, Screen::of_stdout()))?;
    Ok(configure::prepared(plan, stages, &findings)?)
}

fn init(
    system: &System,
    plan: &Plan,
    stages: &[&'static dyn Stage],
    notes: &NoteArgs,
    names: &[String],
    output: &Output,
) -> Result<(), Error> {
    let say = |steps: &[Step]| say(steps, output);
    let Initialised { steps, by_hand } = configure::init(system, plan, stages, names, &notes.state, say)?;
    let value = json!({
        "state_file": notes.state,
        "steps": steps,
        "failed": configure::failed(&steps),
        "by_hand": by_hand.iter().map(|(stage, item)| json!({ "stage": stage, "item": item })).collect::<Vec<_>>(),
    });
    output.show(&value, || {
        let rest = by_hand.iter().map(|(stage, item)| {
            format!("{stage}: {} is {}, wanted {}; by hand: {}\n", item.setting, item.found, item.wanted, item.action)
        });
        rest.collect::<String>()
            + &text::summary(&steps, "Nothing to change: everything that init can change is as it should be.")
    })?;
    Ok(configure::settled(&steps)?)
}

fn fini(
    system: &System,
    stages: &[&'static dyn Stage],
    notes: &NoteArgs,
    names: &[String],
    output: &Output,
) -> Result<(), Error> {
    let steps = configure::fini(system, stages, names, &notes.state, |steps: &[Step]| say(steps, output))?;
    let value = json!({ "state_file": notes.state, "steps": steps, "failed": configure::failed(&steps) });
    output
        .show(&value, || text::summary(&steps, "Nothing to put back: init has changed nothing that is still noted."))?;
    Ok(configure::settled(&steps)?)
}

/// Prints steps as they are done, a line each.
fn say(steps: &[Step], output: &Output) -> Result<(), Error> {
    if output.is_json() { Ok(()) } else { print(&text::steps(steps)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_they_have_to_be() {
        assert_eq!(quoted("/var/lib/streams"), "/var/lib/streams");
        assert_eq!(quoted("/my data/it's"), r"'/my data/it'\''s'");
    }
}
