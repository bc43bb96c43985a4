//! One measurement, or several in turn: more and more viewers, each way to send, each as often as asked for.

use std::collections::BTreeMap;

use serde_json::json;

use super::{FanoutArgs, Io};
use crate::error::BenchError;
use crate::report::Report;

/// What one measurement is of.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// How many watch.
    pub viewers: u32,
    /// How kernel sockets send.
    pub udp_io: &'a str,
}

/// Makes every measurement that is asked for, and one report of them.
///
/// # Errors
/// The first that cannot be made.
pub fn measure(
    args: &FanoutArgs,
    mut step: impl FnMut(Step<'_>) -> Result<Report, BenchError>,
) -> Result<Report, BenchError> {
    if let ([viewers], [udp_io], 1) = (args.viewers.as_slice(), args.udp_io.as_slice(), args.rounds) {
        return step(Step { viewers: *viewers, udp_io });
    }
    let mut report = Report::new("fanout: one broadcast to more and more viewers");
    let (mut sustained, mut costs) = (0, Costs::default());
    for viewers in args.viewers.iter().copied() {
        for round in 1..=args.rounds {
            for udp_io in &args.udp_io {
                let made = step(Step { viewers, udp_io })?;
                if made.is_sustained() {
                    sustained = sustained.max(viewers);
                }
                costs.note(viewers, udp_io, &made);
                let (key, name) = names(args, viewers, udp_io, round);
                report.step(&key, &name, made);
            }
        }
    }
    if args.rounds > 1 {
        costs.tell(&mut report);
    }
    if args.io != Io::Sink {
        let shown = format!("{sustained} viewers got every object, 99 of 100 within {} ms", args.p99_max_ms);
        report.row("sustained_viewers", sustained, "sustained", shown);
        if sustained == 0 {
            report.failure("no number of viewers got everything in time");
        }
    }
    Ok(report)
}

/// Key and name of a step, with what tells it from the others.
fn names(args: &FanoutArgs, viewers: u32, udp_io: &str, round: u32) -> (String, String) {
    let (mut key, mut name) = (format!("viewers_{viewers}"), format!("{viewers} viewers"));
    if args.udp_io.len() > 1 {
        key.push_str(&format!("_{udp_io}"));
        name.push_str(&format!(", {udp_io}"));
    }
    if args.rounds > 1 {
        key.push_str(&format!("_round_{round}"));
    }
    (key, name)
}

/// What a packet cost in each round, by viewers and way: user and kernel time, ns.
#[derive(Debug, Default)]
struct Costs(BTreeMap<(u32, String), Vec<[f64; 2]>>);

impl Costs {
    fn note(&mut self, viewers: u32, udp_io: &str, made: &Report) {
        let ns = ["user", "kernel"].map(|part| made.number("ns_a_packet", part).unwrap_or_default());
        self.0.entry((viewers, udp_io.to_owned())).or_default().push(ns);
    }

    fn tell(&self, report: &mut Report) {
        for ((viewers, udp_io), rounds) in &self.0 {
            let [user, kernel] = [0, 1].map(|part| spread(rounds.iter().map(|ns| ns[part])));
            let total = spread(rounds.iter().map(|ns| ns[0] + ns[1]));
            let shown = |[low, middle, high]: [f64; 3]| format!("{low:.0} / {middle:.0} / {high:.0}");
            let words = format!(
                "user {}, kernel {}, both {} ns a packet (least / median / most of {})",
                shown(user),
                shown(kernel),
                shown(total),
                rounds.len()
            );
            let value = json!({ "user_ns": user, "kernel_ns": kernel, "total_ns": total });
            report.row(&format!("cost_{viewers}_{udp_io}"), value, &format!("{viewers}, {udp_io}"), words);
        }
    }
}

/// Least, median and most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_measured_in_each_round_and_its_spread_told() {
        let udp_io = vec!["io_uring".to_owned(), "plain".to_owned()];
        let args = FanoutArgs { viewers: vec![10], udp_io, rounds: 3, io: Io::Udp, ..FanoutArgs::defaults() };
        let mut order = Vec::new();
        let report = measure(&args, |step| {
            order.push(step.udp_io.to_owned());
            let mut made = Report::new("a step");
            let user = (10 * order.len()) as f64;
            made.value("ns_a_packet", json!({ "user": user, "kernel": 1.0 }));
            made.sustained(true);
            Ok(made)
        });
        assert_eq!(order, ["io_uring", "plain", "io_uring", "plain", "io_uring", "plain"]);
        let json = report.unwrap().json(&crate::machine::Machine::read());
        assert_eq!(json["result"]["cost_10_plain"]["user_ns"], json!([20.0, 40.0, 60.0]), "{json}");
        assert_eq!(json["result"]["cost_10_io_uring"]["total_ns"], json!([11.0, 31.0, 51.0]), "{json}");
        assert_eq!(json["result"]["sustained_viewers"], 10);
    }
}
