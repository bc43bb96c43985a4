//! `streams configure check|init|fini [STAGE…]`

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::json;
use streams_config::Poll;

use super::Global;
use super::output::{Output, print};
use super::screen::{Paint, Screen};
use crate::Error;
use crate::operator::finding::{Finding, Item, State};
use crate::operator::journal::{DEFAULT_PATH, Journal};
use crate::operator::plan::Plan;
use crate::operator::stage::{Outcome, Stage, Step};
use crate::operator::stages::{STAGES, named};
use crate::operator::system::System;
use crate::settings::{Flags, Settings, parse_value};

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
    let findings: Vec<Finding> = stages.iter().map(|stage| stage.check(system, plan)).collect();
    let open: usize = findings.iter().map(Finding::open).sum();
    let value = json!({
        "ok": open == 0,
        "open": open,
        "shards": plan.shards,
        "interface": plan.interface.as_ref().ok(),
        "run_dir": plan.run_dir,
        "stages": findings,
    });
    output.show(&value, || table(plan, &findings, Screen::of_stdout()))?;
    if open == 0 {
        return Ok(());
    }
    let doable = findings.iter().filter(|finding| finding.items.iter().any(|item| item.change.is_some()));
    let names: Vec<_> = doable.map(|finding| finding.stage).collect();
    // Without a stage that was left out, the short command does the same.
    let stages = if stages.len() == STAGES.len() { String::new() } else { names.join(" ") };
    let does = match names.is_empty() {
        true => "the lines above say what to do".to_owned(),
        false => format!("to change what can be changed: {}", plan.command("init", &stages)),
    };
    let are = if open == 1 { "setting is" } else { "settings are" };
    Err(Error::NotPrepared { what: format!("{open} {are} missing or wrong; {does}") })
}

fn init(
    system: &System,
    plan: &Plan,
    stages: &[&dyn Stage],
    notes: &NoteArgs,
    names: &[String],
    output: &Output,
) -> Result<(), Error> {
    let findings: Vec<Finding> = stages.iter().map(|stage| stage.check(system, plan)).collect();
    let to_change = |finding: &Finding| finding.items.iter().any(|item| item.change.is_some());
    let mut steps = Vec::new();
    if let Some(index) = findings.iter().position(to_change) {
        let first = stages.get(index).or(stages.first()).copied();
        if let Some(stage) = first.filter(|_| !system.host().is_root()) {
            let command = plan.command("init", &names.join(" "));
            return Err(Error::Rights { stage: stage.name(), right: stage.right(), command });
        }
        let mut journal = Journal::open(system, &notes.state)?;
        for stage in stages {
            let made = stage.init(system, plan, &mut journal)?;
            say(&made, output)?;
            steps.extend(made);
        }
    }
    let by_hand: Vec<(&str, Item)> = stages
        .iter()
        .flat_map(|stage| stage.items(system, plan).into_iter().map(|item| (stage.name(), item)))
        .filter(|(_, item)| item.state.is_open() && item.change.is_none())
        .collect();
    let value = json!({
        "state_file": notes.state,
        "steps": steps,
        "failed": failed(&steps),
        "by_hand": by_hand.iter().map(|(stage, item)| json!({ "stage": stage, "item": item })).collect::<Vec<_>>(),
    });
    output.show(&value, || {
        let rest = by_hand.iter().map(|(stage, item)| {
            format!("{stage}: {} is {}, wanted {}; by hand: {}\n", item.setting, item.found, item.wanted, item.action)
        });
        rest.collect::<String>()
            + &end_line(&steps, "Nothing to change: everything that init can change is as it should be.")
    })?;
    settled(&steps)
}

fn fini(
    system: &System,
    stages: &[&dyn Stage],
    notes: &NoteArgs,
    names: &[String],
    output: &Output,
) -> Result<(), Error> {
    let mut steps = Vec::new();
    // A folder that only root may look into is no proof that there are none.
    let absent = fs::symlink_metadata(&notes.state).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !absent {
        if let Some(stage) = stages.first().filter(|_| !system.host().is_root()) {
            let command = ["sudo streams configure fini", &names.join(" ")].join(" ").trim_end().to_owned();
            return Err(Error::Rights { stage: stage.name(), right: stage.right(), command });
        }
        let mut journal = Journal::open(system, &notes.state)?;
        for stage in stages.iter().rev() {
            let made = stage.fini(system, &mut journal)?;
            say(&made, output)?;
            steps.extend(made);
        }
    }
    let value = json!({ "state_file": notes.state, "steps": steps, "failed": failed(&steps) });
    output.show(&value, || end_line(&steps, "Nothing to put back: init has changed nothing that is still noted."))?;
    settled(&steps)
}

/// Prints steps as they are done, a line each.
fn say(steps: &[Step], output: &Output) -> Result<(), Error> {
    if output.is_json() {
        return Ok(());
    }
    let line = |step: &Step| {
        let Step { stage, setting, before, after, reason, .. } = step;
        match step.outcome {
            Outcome::Changed => format!("{stage}: {setting}: {before} -> {after}\n"),
            Outcome::Left => format!("{stage}: {setting}: left at {before}: {reason}\n"),
            Outcome::Failed => format!("{stage}: {setting}: FAILED, it is {before}: {reason}\n"),
        }
    };
    print(&steps.iter().map(line).collect::<String>())
}

fn failed(steps: &[Step]) -> usize {
    steps.iter().filter(|step| step.outcome == Outcome::Failed).count()
}

fn end_line(steps: &[Step], nothing: &str) -> String {
    if steps.is_empty() {
        return format!("{nothing}\n");
    }
    let changed = steps.iter().filter(|step| step.outcome == Outcome::Changed).count();
    format!("{changed} changed, {} left, {} failed.\n", steps.len() - changed - failed(steps), failed(steps))
}

fn settled(steps: &[Step]) -> Result<(), Error> {
    match failed(steps) {
        0 => Ok(()),
        count => Err(Error::NotPrepared { what: format!("{count} changes failed; their lines say why") }),
    }
}

/// The findings for a person: a line a setting, and below it the command where there is something to do.
fn table(plan: &Plan, findings: &[Finding], screen: Screen) -> String {
    let interface = match &plan.interface {
        Ok(interface) => format!("AF_XDP on {interface}"),
        Err(_) => "kernel sockets".to_owned(),
    };
    let poll = if plan.busy { "busy" } else { "adaptive" };
    let mut text = format!("Prepared for: {} shards, {interface}, {poll} polling\n\n", plan.shards);
    let rows: Vec<Row> = findings.iter().flat_map(rows).collect();
    let setting = rows.iter().filter(|row| !row.is_reason()).map(|row| row.setting.chars().count()).max().unwrap_or(0);
    let found = rows.iter().map(|row| row.found.chars().count()).max().unwrap_or(0).max("FOUND".len());
    let setting = setting.max("SETTING".len());
    let head = format!("{:<13}  {:<14}  {:<setting$}  {:<found$}  WANTED", "STAGE", "STATE", "SETTING", "FOUND");
    text += &format!("{}\n", screen.paint(Paint::Bold, &head));
    for row in &rows {
        let state = screen.paint(paint_of(row.state), &format!("{:<14}", row.state.word()));
        if row.is_reason() {
            let reason = screen.wrapped(&row.action, 31);
            text += &format!("{:<13}  {state}  {reason}\n", row.stage);
            continue;
        }
        let line = format!("{:<setting$}  {:<found$}  {}", row.setting, dash(&row.found), dash(&row.wanted));
        text += &format!("{:<13}  {state}  {}\n", row.stage, line.trim_end());
        if !row.action.is_empty() {
            text += &format!("{:31}-> {}\n", "", screen.wrapped(&row.action, 34));
        }
    }
    text + &format!("\n{}\n", counts(findings))
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn paint_of(state: State) -> Paint {
    match state {
        State::Ok => Paint::Green,
        State::NotApplicable => Paint::Dim,
        State::Hint | State::Unknown => Paint::Yellow,
        State::Missing | State::Wrong => Paint::Red,
    }
}

/// A line of the table.
struct Row {
    stage: &'static str,
    state: State,
    setting: String,
    found: String,
    wanted: String,
    action: String,
}

impl Row {
    /// A stage or setting that does not concern this machine has nothing but a reason.
    fn is_reason(&self) -> bool {
        self.state == State::NotApplicable
    }
}

/// The lines of a stage: settings that are ok in the same way share one, and its name stands on the first.
fn rows(finding: &Finding) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut same: Vec<usize> = Vec::new();
    for item in &finding.items {
        let alike = |row: &Row| {
            row.state == item.state
                && ((item.state == State::Ok && row.found == item.found && row.wanted == item.wanted)
                    || (item.state == State::NotApplicable && row.action.ends_with(&item.action)))
        };
        if let Some(index) = rows.iter().position(alike) {
            if let Some(count) = same.get_mut(index) {
                *count += 1;
            }
            continue;
        }
        let action = match item.state {
            State::NotApplicable => format!("{}: {}", item.setting, item.action),
            _ => item.action.clone(),
        };
        let (setting, found, wanted) = (item.setting.clone(), item.found.clone(), item.wanted.clone());
        rows.push(Row { stage: "", state: item.state, setting, found, wanted, action });
        same.push(0);
    }
    for (row, more) in rows.iter_mut().zip(same).filter(|(row, more)| *more > 0 && !row.is_reason()) {
        row.setting = format!("{} and {more} more", row.setting);
    }
    if let Some(first) = rows.first_mut() {
        first.stage = finding.stage;
    }
    rows
}

/// How many settings stand how.
fn counts(findings: &[Finding]) -> String {
    let items = || findings.iter().flat_map(|finding| &finding.items);
    let states = [State::Ok, State::Missing, State::Wrong, State::Hint, State::Unknown, State::NotApplicable];
    let counted = states.iter().filter_map(|state| {
        let count = items().filter(|item| item.state == *state).count();
        (count > 0).then(|| format!("{count} {}", state.word()))
    });
    format!("{} settings: {}.", items().count(), counted.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_they_have_to_be() {
        assert_eq!(quoted("/var/lib/streams"), "/var/lib/streams");
        assert_eq!(quoted("/my data/it's"), r"'/my data/it'\''s'");
    }

    #[test]
    fn settings_that_are_ok_alike_share_a_line_and_others_do_not() {
        let item = |name: &str, state, found: &str| Item::plain(name, state, found, "off", "");
        let items = vec![
            item("eth0 a", State::Ok, "off"),
            item("eth0 b", State::Wrong, "on"),
            item("eth0 c", State::Ok, "off"),
            item("eth0 d", State::Wrong, "on"),
        ];
        let rows = rows(&Finding::new("offloads", "", items));
        let settings: Vec<_> = rows.iter().map(|row| row.setting.as_str()).collect();
        assert_eq!(settings, ["eth0 a and 1 more", "eth0 b", "eth0 d"]);
        assert_eq!((rows[0].stage, rows[1].stage), ("offloads", ""));
    }
}
