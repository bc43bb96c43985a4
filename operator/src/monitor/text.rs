//! A report as plain text: measures down, shards across, so that it fits a terminal whatever the number of measures.

use std::path::Path;

use streams_contract::Counter;

use super::columns::{Column, INPUTS, InputRow, LINKS, SHARDS, XDP};
use super::numbers::time;
use super::report::{Report, ShardReport};
use crate::text::{pairs, table};

/// The text.
pub fn report(report: &Report, data: &Path) -> String {
    let interval = report.interval.unwrap_or_default().as_secs_f64();
    let head = pairs(&[
        ("engine", format!("{}, pid {}, version {}", report.health.word(), report.pid, report.version)),
        ("running for", time(report.uptime)),
        ("generation", report.generation.clone()),
        ("data", data.display().to_string()),
        ("rates over", format!("{interval:.2} s")),
    ]);
    let rows: Vec<&ShardReport> = report.shards.iter().chain([&report.all]).collect();
    let mut text = format!("{head}\n{}", across(SHARDS, &rows));
    if report.all.has_xdp() {
        text.push_str(&format!("\n{}", across(XDP, &rows)));
    }
    if report.all.value(Counter::IngestOpen) > 0 || !report.inputs.is_empty() {
        text.push_str(&format!("\n{}", down(INPUTS, &InputRow::all(report))));
    }
    text.push_str(&format!("\n{}", down(LINKS, &report.links)));
    text
}

/// A line a column of the screen, a column a shard.
fn across<T>(columns: &[Column<T>], rows: &[&T]) -> String {
    let line = |column: &Column<T>| -> Vec<String> {
        std::iter::once(column.title.to_owned()).chain(rows.iter().map(|row| (column.cell)(row).text)).collect()
    };
    let mut lines = columns.iter().map(line);
    let head = lines.next().unwrap_or_default();
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &lines.collect::<Vec<_>>())
}

fn down<T>(columns: &[Column<T>], rows: &[T]) -> String {
    let head: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let cells = |row: &T| columns.iter().map(|column| (column.cell)(row).text).collect();
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}
