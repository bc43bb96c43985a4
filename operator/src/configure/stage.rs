//! The trait of a stage, and what all stages share: checking, changing with a note, putting back.

use std::io;

use super::finding::{Change, Finding, Item};
use super::journal::{Journal, Note};
use super::plan::Plan;
use super::system::System;
use crate::Error;

/// One concern of the machine's preparation.
pub trait Stage: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// What it is for, in one line.
    fn purpose(&self) -> &'static str;

    /// The right that its changes need.
    fn right(&self) -> &'static str;

    /// Its settings as they are, each with what to do about it. Changes nothing and needs no right.
    fn items(&self, system: &System, plan: &Plan) -> Vec<Item>;

    /// Looks at every setting.
    fn check(&self, system: &System, plan: &Plan) -> Finding {
        Finding::new(self.name(), self.purpose(), self.items(system, plan))
    }

    /// Makes the changes that its settings ask for.
    fn init(&self, system: &System, plan: &Plan, journal: &mut Journal) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        for item in self.items(system, plan) {
            if let Some(change) = &item.change {
                steps.push(make(self.name(), self.right(), system, journal, &item, change)?);
            }
        }
        Ok(steps)
    }

    /// Puts back what its `init` changed, newest first.
    fn fini(&self, system: &System, journal: &mut Journal) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        for note in journal.newest_first().iter().filter(|note| note.stage == self.name()) {
            steps.push(put_back(self.name(), self.right(), system, journal, note)?);
        }
        Ok(steps)
    }
}

/// One line of what `init` or `fini` did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// The stage.
    pub stage: &'static str,
    /// The setting.
    pub setting: String,
    /// The value before.
    pub before: String,
    /// The value after.
    pub after: String,
    /// What happened.
    pub outcome: Outcome,
    /// Why it failed or was left, and what to do.
    pub reason: String,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The value is now another.
    Changed,
    /// There was nothing to do, or no reason to.
    Left,
    /// It could not be done.
    Failed,
}

/// What is shown for a thing that is not there.
const ABSENT: &str = "absent";

fn shown(value: Option<&str>) -> String {
    match value {
        None => ABSENT.to_owned(),
        // A whole file is named, not printed.
        Some(text) if text.contains('\n') => "this file".to_owned(),
        Some(text) => text.to_owned(),
    }
}

fn failure(error: &io::Error, right: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("not permitted: it needs {right}, on the host if this is a container")
        }
        io::ErrorKind::Unsupported => "the driver or kernel cannot do this".to_owned(),
        _ => error.to_string(),
    }
}

fn make(
    stage: &'static str,
    right: &str,
    system: &System,
    journal: &mut Journal,
    item: &Item,
    change: &Change,
) -> Result<Step, Error> {
    let knob = &change.knob;
    let mut step = Step {
        stage,
        setting: item.setting.clone(),
        before: String::new(),
        after: String::new(),
        outcome: Outcome::Failed,
        reason: String::new(),
    };
    let before = match knob.read(system) {
        Ok(before) => before,
        Err(error) => {
            step.reason = failure(&error, right);
            return Ok(step);
        }
    };
    step.before = shown(before.as_deref());
    journal.begin(stage, knob, before.clone())?;
    let written = knob.write(system, Some(&change.to));
    let after = knob.read(system).unwrap_or_else(|_| before.clone());
    journal.done(knob, after.clone())?;
    step.after = shown(after.as_deref());
    match written {
        Err(error) => step.reason = failure(&error, right),
        Ok(()) if change.is_met_by(after.as_deref()) => step.outcome = Outcome::Changed,
        Ok(()) => step.reason = format!("{} was asked for and not granted", shown(Some(&change.to))),
    }
    Ok(step)
}

fn put_back(
    stage: &'static str,
    right: &str,
    system: &System,
    journal: &mut Journal,
    note: &Note,
) -> Result<Step, Error> {
    let mut step = Step {
        stage,
        setting: note.knob.label(),
        before: shown(note.after.as_deref()),
        after: shown(note.before.as_deref()),
        outcome: Outcome::Left,
        reason: String::new(),
    };
    if journal.is_undone(note) {
        step.reason = "the machine was restarted since, which undid it".to_owned();
        journal.forget(note)?;
        return Ok(step);
    }
    if journal.is_elsewhere(note) {
        step.outcome = Outcome::Failed;
        step.reason = "it was changed in another network namespace; run fini there".to_owned();
        return Ok(step);
    }
    if note.knob.interface().is_some_and(|interface| !system.exists(format!("/sys/class/net/{interface}"))) {
        step.reason = "the interface is gone, and its settings with it".to_owned();
        journal.forget(note)?;
        return Ok(step);
    }
    let now = match note.knob.read(system) {
        Ok(now) => now,
        Err(error) => {
            step.outcome = Outcome::Failed;
            step.reason = failure(&error, right);
            return Ok(step);
        }
    };
    step.before = shown(now.as_deref());
    if now == note.before {
        step.reason = "it has its first value".to_owned();
    } else if note.after.is_some() && now != note.after {
        step.after = step.before.clone();
        step.reason =
            format!("somebody else changed it since init; its value before was {}", shown(note.before.as_deref()));
    } else if let Err(error) = note.knob.write(system, note.before.as_deref()) {
        step.outcome = Outcome::Failed;
        step.reason = failure(&error, right);
        return Ok(step);
    } else {
        step.outcome = Outcome::Changed;
    }
    journal.forget(note)?;
    Ok(step)
}
