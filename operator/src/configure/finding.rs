//! What a check finds.

use std::io;

use serde::Serialize;

use super::knob::Knob;
use super::system::System;

/// How a setting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does not concern this machine or configuration.
    NotApplicable,
    /// As it should be.
    Ok,
    /// Could be better; never changed by `init` and no failure.
    Hint,
    /// It cannot be read, mostly without root.
    Unknown,
    /// Not there.
    Missing,
    /// There, with another value.
    Wrong,
}

impl State {
    /// The word of the table.
    pub fn word(self) -> &'static str {
        match self {
            State::NotApplicable => "not applicable",
            State::Ok => "ok",
            State::Hint => "hint",
            State::Unknown => "unknown",
            State::Missing => "missing",
            State::Wrong => "wrong",
        }
    }

    /// Something must be done.
    pub fn is_open(self) -> bool {
        matches!(self, State::Missing | State::Wrong)
    }
}

/// One setting: how it is, how it should be, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is, in the words of the tool that shows it.
    pub setting: String,
    /// How it stands.
    pub state: State,
    /// The value now; empty when there is none.
    pub found: String,
    /// The value that it should have.
    pub wanted: String,
    /// The command that changes it, or the reason why there is nothing to do.
    pub action: String,
    /// What `init` does about it.
    #[serde(skip)]
    pub change: Option<Change>,
}

/// A change that `init` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is set.
    pub knob: Knob,
    /// To which value.
    pub to: String,
    /// A higher number is as good.
    pub at_least: bool,
}

impl Change {
    /// Whether a value is what the change was for.
    pub fn is_met_by(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        match value {
            Some(value) if self.at_least => number(value) >= number(&self.to),
            value => value == Some(self.to.as_str()),
        }
    }
}

/// What the value of a knob has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// A number that may be higher and is never lowered.
    AtLeast(u64),
    /// Just this.
    Exactly(&'a str),
}

impl Item {
    /// A setting that does not concern this machine, and why.
    pub fn not_applicable(setting: &str, reason: impl Into<String>) -> Self {
        Self::plain(setting, State::NotApplicable, "", "", reason)
    }

    /// A setting that `init` does not change.
    pub fn plain(
        setting: &str,
        state: State,
        found: impl Into<String>,
        wanted: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self {
            setting: setting.to_owned(),
            state,
            found: found.into(),
            wanted: wanted.into(),
            action: action.into(),
            change: None,
        }
    }

    /// A setting behind a knob: read, compared, and given to `init` when it has to change. `action` is the command that
    /// does the same by hand.
    pub fn of(system: &System, setting: &str, knob: Knob, wanted: Wanted<'_>, action: &str) -> Self {
        let (to, shown) = match wanted {
            Wanted::AtLeast(least) => (least.to_string(), format!(">= {least}")),
            Wanted::Exactly(value) => (value.to_owned(), value.to_owned()),
        };
        let found = match knob.read(system) {
            Ok(found) => found,
            Err(error) => return Self::unread(setting, &error, &shown),
        };
        let change = Change { knob, to, at_least: matches!(wanted, Wanted::AtLeast(_)) };
        let fits = change.is_met_by(found.as_deref());
        let state = match (&found, fits) {
            (_, true) => State::Ok,
            (None, false) => State::Missing,
            (Some(_), false) => State::Wrong,
        };
        let change = (!fits).then_some(change);
        let action = if fits { "" } else { action };
        Self { change, ..Self::plain(setting, state, found.unwrap_or_default(), shown, action) }
    }

    /// A setting that could not be read: without the right to, or because the machine has none.
    pub fn unread(setting: &str, error: &io::Error, wanted: &str) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::plain(setting, State::Unknown, "", wanted, "only root may read it: run this check with sudo")
            }
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
                Self::not_applicable(setting, "this kernel, driver or network namespace has no such setting")
            }
            _ => Self::plain(setting, State::Unknown, "", wanted, format!("cannot be read: {error}")),
        }
    }

    /// The same as a hint: never changed, never a failure.
    pub fn as_hint(mut self) -> Self {
        if self.state.is_open() {
            self.state = State::Hint;
        }
        self.change = None;
        self
    }
}

/// What one stage found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stage's name.
    pub stage: &'static str,
    /// What the stage is for.
    pub purpose: &'static str,
    /// The worst of its settings.
    pub state: State,
    /// Its settings.
    pub items: Vec<Item>,
}

impl Finding {
    /// A stage's finding out of its settings.
    pub fn new(stage: &'static str, purpose: &'static str, items: Vec<Item>) -> Self {
        let state = items.iter().map(|item| item.state).max().unwrap_or(State::NotApplicable);
        Self { stage, purpose, state, items }
    }

    /// Settings that must be changed.
    pub fn open(&self) -> usize {
        self.items.iter().filter(|item| item.state.is_open()).count()
    }
}
