//! Preparing a machine (`streams configure`): what each setting is and should be, changing it, putting it back.
//!
//! ```text
//! streams.toml, flags ──▶ Plan ─┐
//! /proc /sys /etc, netlink ─▶ System ─┴─▶ Stage::items ──▶ Finding ──▶ table, JSON, doctor
//!                                                │ what is missing or wrong
//!                                                ▼
//!                         Journal (value before) ──▶ Knob::write ──▶ Journal (value after)      init
//!                         Journal, newest first ──▶ Knob::write (value before)                  fini
//! ```
//!
//! A [`stage::Stage`] only says how things are and how they should be; changing and putting back is the same for all.

pub mod finding;
pub mod journal;
pub mod knob;
mod netlink;
pub mod nic;
pub mod plan;
mod root_folder;
pub mod stage;
pub mod stages;
pub mod system;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;

use std::fs;
use std::io;
use std::path::Path;

use self::finding::{Finding, Item};
use self::journal::Journal;
use self::plan::Plan;
use self::stage::{Outcome, Stage, Step};
use self::stages::STAGES;
use self::system::System;
use crate::Error;

/// How the settings of `stages` are and should be. Changes nothing and needs no root.
pub fn check(system: &System, plan: &Plan, stages: &[&dyn Stage]) -> Vec<Finding> {
    stages.iter().map(|stage| stage.check(system, plan)).collect()
}

/// An error that says what to do when anything of what a check of `stages` found is open.
pub fn prepared(plan: &Plan, stages: &[&dyn Stage], findings: &[Finding]) -> Result<(), Error> {
    let open: usize = findings.iter().map(Finding::open).sum();
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

/// What `init` did, and what it cannot do.
pub struct Initialised {
    /// Every change, in order.
    pub steps: Vec<Step>,
    /// Settings that a person has to change, each with its stage.
    pub by_hand: Vec<(&'static str, Item)>,
}

/// Changes what is missing or wrong, noting each value before it changes in the file `state`. `names` are the stages as they
/// were asked for; `say` is told the steps of each stage as they are done.
pub fn init<E: From<Error>>(
    system: &System,
    plan: &Plan,
    stages: &[&'static dyn Stage],
    names: &[String],
    state: &Path,
    mut say: impl FnMut(&[Step]) -> Result<(), E>,
) -> Result<Initialised, E> {
    let findings = check(system, plan, stages);
    let to_change = |finding: &Finding| finding.items.iter().any(|item| item.change.is_some());
    let mut steps = Vec::new();
    if let Some(index) = findings.iter().position(to_change) {
        let first = stages.get(index).or(stages.first()).copied();
        if let Some(stage) = first.filter(|_| !system.host().is_root()) {
            let command = plan.command("init", &names.join(" "));
            return Err(Error::Rights { stage: stage.name(), right: stage.right(), command }.into());
        }
        let mut journal = Journal::open(system, state)?;
        for stage in stages {
            let made = stage.init(system, plan, &mut journal)?;
            say(&made)?;
            steps.extend(made);
        }
    }
    let by_hand = stages
        .iter()
        .flat_map(|stage| stage.items(system, plan).into_iter().map(|item| (stage.name(), item)))
        .filter(|(_, item)| item.state.is_open() && item.change.is_none())
        .collect();
    Ok(Initialised { steps, by_hand })
}

/// Puts back what `init` noted in the file `state`, newest first.
pub fn fini<E: From<Error>>(
    system: &System,
    stages: &[&'static dyn Stage],
    names: &[String],
    state: &Path,
    mut say: impl FnMut(&[Step]) -> Result<(), E>,
) -> Result<Vec<Step>, E> {
    let mut steps = Vec::new();
    // A folder that only root may look into is no proof that there are none.
    if fs::symlink_metadata(state).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(steps);
    }
    if let Some(stage) = stages.first().filter(|_| !system.host().is_root()) {
        let command = ["sudo streams configure fini", &names.join(" ")].join(" ").trim_end().to_owned();
        return Err(Error::Rights { stage: stage.name(), right: stage.right(), command }.into());
    }
    let mut journal = Journal::open(system, state)?;
    for stage in stages.iter().rev() {
        let made = stage.fini(system, &mut journal)?;
        say(&made)?;
        steps.extend(made);
    }
    Ok(steps)
}

/// Steps that failed.
pub fn failed(steps: &[Step]) -> usize {
    steps.iter().filter(|step| step.outcome == Outcome::Failed).count()
}

/// An error when any step failed.
pub fn settled(steps: &[Step]) -> Result<(), Error> {
    match failed(steps) {
        0 => Ok(()),
        count => Err(Error::NotPrepared { what: format!("{count} changes failed; their lines say why") }),
    }
}
