//! Findings and steps for a person.

use super::finding::{Finding, State};
use super::plan::Plan;
use super::stage::{Outcome, Step};
use crate::screen::{Paint, Screen};

/// The findings for a person: a line a setting, and below it the command where there is something to do.
pub fn table(plan: &Plan, findings: &[Finding], screen: Screen) -> String {
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

/// Steps that were done, a line each.
pub fn steps(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let Step { stage, setting, before, after, reason, .. } = step;
        match step.outcome {
            Outcome::Changed => format!("{stage}: {setting}: {before} -> {after}\n"),
            Outcome::Left => format!("{stage}: {setting}: left at {before}: {reason}\n"),
            Outcome::Failed => format!("{stage}: {setting}: FAILED, it is {before}: {reason}\n"),
        }
    };
    steps.iter().map(line).collect()
}

/// How many steps came to what; `nothing` when there was none.
pub fn summary(steps: &[Step], nothing: &str) -> String {
    if steps.is_empty() {
        return format!("{nothing}\n");
    }
    let count = |outcome| steps.iter().filter(|step| step.outcome == outcome).count();
    let (changed, left, failed) = (count(Outcome::Changed), count(Outcome::Left), count(Outcome::Failed));
    format!("{changed} changed, {left} left, {failed} failed.\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::finding::Item;

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
