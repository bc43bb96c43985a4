//! A report as one JSON object. Keys are stable and hold their units; docs/operators.md explains them.

use std::path::Path;

use serde_json::{Map, Value, json};
use streams_contract::{Counter, CounterKind, Section};

use super::columns::state;
use super::report::{LinkReport, Report, ShardReport, has_rate};

/// The object.
pub fn report(report: &Report, data: &Path) -> Value {
    json!({
        "engine": {
            "state": report.health.word(),
            "pid": report.pid,
            "version": report.version,
            "uptime_s": report.uptime.as_secs(),
            "generation": report.generation.parse::<u64>().ok(),
            "shards": report.shards.len(),
            "data": data.display().to_string(),
        },
        "interval_s": report.interval.map(|interval| rounded(interval.as_secs_f64())),
        "all": shard(&report.all),
        "shards": report.shards.iter().map(shard).collect::<Vec<_>>(),
        "links": report.links.iter().map(link).collect::<Vec<_>>(),
        "inputs": report.inputs,
    })
}

fn shard(row: &ShardReport) -> Value {
    let time = row.time.map(|time| {
        json!({
            "busy_percent": rounded(time.busy),
            "edge_percent": rounded(time.edge),
            "housekeeping_percent": rounded(time.housekeeping),
            "sleep_percent": rounded(time.sleep),
            "spin_percent": rounded(time.spin),
        })
    });
    let mut object = json!({
        "state": state(row.signal),
        "heartbeat_age_ms": u64::try_from(row.heartbeat_age.as_millis()).unwrap_or(u64::MAX),
        "time": time,
        "rates": rates(row),
        "totals": of_kind(row, CounterKind::Total),
        "levels": of_kind(row, CounterKind::Gauge),
    });
    if let (Some(index), Some(object)) = (row.shard, object.as_object_mut()) {
        object.insert("shard".to_owned(), index.into());
        object.insert("rx_link_fill_frags".to_owned(), row.rx_fill.map(|(fill, _)| fill).into());
        object.insert("rx_link_depth_frags".to_owned(), row.rx_fill.map(|(_, depth)| depth).into());
    }
    if row.has_xdp()
        && let Some(object) = object.as_object_mut()
    {
        object.insert("xdp_missing_datagrams".to_owned(), row.xdp_missing().into());
        object.insert("xdp_malformed_datagrams".to_owned(), row.xdp_malformed().into());
    }
    object
}

/// `rx_datagrams` as `rx_datagrams_per_s`; `rx_bytes` as `rx_bits_per_s`.
fn rates(row: &ShardReport) -> Map<String, Value> {
    let counters = Counter::ALL.iter().copied().filter(|counter| has_rate(*counter) && shown(row, *counter));
    let named = counters.filter_map(|counter| {
        let (name, scale) = match counter.unit() {
            "bytes" => (counter.name().replace("bytes", "bits"), 8.0),
            _ => (counter.name().to_owned(), 1.0),
        };
        Some((format!("{name}_per_s"), rounded(row.rate(counter)? * scale)))
    });
    named.collect()
}

fn of_kind(row: &ShardReport, kind: CounterKind) -> Map<String, Value> {
    let counters = Counter::ALL.iter().filter(|counter| counter.kind() == kind && shown(row, **counter));
    counters.map(|counter| (counter.name().to_owned(), row.value(*counter).into())).collect()
}

/// Counters of a backend are there when it runs.
fn shown(row: &ShardReport, counter: Counter) -> bool {
    counter.section() != Section::Xdp || row.has_xdp()
}

fn link(row: &LinkReport) -> Value {
    json!({
        "link": row.name,
        "reader": row.reader,
        "depth_frags": row.depth,
        "published_frags": row.published,
        "frags_per_s": row.frags_per_s.map(rounded),
        "ring_bits_per_s": row.bits_per_s.map(rounded),
        "lag_frags": row.lag,
        "overrun_frags": row.lost,
    })
}

/// Three digits behind the point: more would be noise.
fn rounded(value: f64) -> Value {
    Value::from((value * 1000.0).round() / 1000.0)
}
