//! A report for a person.

use super::{Basis, Report};
use crate::configure::plan::Plan;
use crate::screen::{Paint, Screen};

/// What stands between this machine and line rate, most important first.
pub fn report(plan: &Plan, report: &Report, screen: Screen) -> String {
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
