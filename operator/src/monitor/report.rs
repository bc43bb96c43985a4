//! Two samples as rates and shares of time.

use std::time::Duration;

use streams_contract::{Counter, CounterKind, RuntimeEntry};
use streams_control::program::HEARTBEAT_FRESH;
use streams_rings::{LinkView, Signal};

use super::sample::{LinkSample, Sample, ShardSample};

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Every shard runs and beats.
    Runs,
    /// Some shard has not begun to run.
    Starting,
    /// It was asked to end.
    Ending,
    /// It beats no more: killed, stopped, or the machine stood still.
    Silent {
        /// Its process.
        pid: u32,
        /// Since the last heartbeat of any shard.
        since: Duration,
    },
    /// It ended as asked.
    Ended,
}

impl Health {
    /// The health at a sample.
    pub fn of(sample: &Sample) -> Self {
        let ages = sample.shards.iter().map(|shard| age(sample, shard));
        let youngest = ages.min().unwrap_or(Duration::MAX);
        let any = |signal| sample.shards.iter().any(|shard| shard.signal == signal);
        match youngest < HEARTBEAT_FRESH {
            false if any(Signal::Halt) => Health::Ended,
            false => Health::Silent { pid: sample.pid, since: youngest },
            true if any(Signal::Halt) || any(Signal::Fail) => Health::Ending,
            true if any(Signal::Boot) => Health::Starting,
            true => Health::Runs,
        }
    }

    /// Why there is no engine; `None`: there is one.
    pub fn gone(self) -> Option<String> {
        match self {
            Health::Runs | Health::Starting | Health::Ending => None,
            Health::Ended => Some("the last one ended as asked".to_owned()),
            Health::Silent { pid, since } => {
                Some(format!("its last heartbeat was {} s ago (pid {pid})", since.as_secs()))
            }
        }
    }

    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Health::Runs => "running",
            Health::Starting => "starting",
            Health::Ending => "ending",
            Health::Silent { .. } => "dead",
            Health::Ended => "ended",
        }
    }
}

fn age(sample: &Sample, shard: &ShardSample) -> Duration {
    Duration::from_nanos(sample.now_ns.saturating_sub(shard.heartbeat_ns))
}

/// What a person or a program is shown.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the engine is doing.
    pub health: Health,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// How long it has been running.
    pub uptime: Duration,
    /// The number of its workspace's generation.
    pub generation: String,
    /// What rates were taken over; `None` at the first look at an engine.
    pub interval: Option<Duration>,
    /// By shard.
    pub shards: Vec<ShardReport>,
    /// All shards together.
    pub all: ShardReport,
    /// Every link, a line for each reader.
    pub links: Vec<LinkReport>,
    /// Running inputs.
    pub inputs: Vec<RuntimeEntry>,
    /// Now, milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// One shard, or all of them.
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// `None`: all of them.
    pub shard: Option<usize>,
    /// Its life cycle.
    pub signal: Signal,
    /// Since its last heartbeat.
    pub heartbeat_age: Duration,
    /// By `Counter` index: totals and gauges.
    values: Vec<u64>,
    /// By `Counter` index: changes a second; empty at the first look.
    rates: Vec<f64>,
    /// What its time went into; `None` at the first look, or when it did not beat in between.
    pub time: Option<TimeShares>,
    /// Frags in its receive link, and how many that holds.
    pub rx_fill: Option<(u64, u64)>,
}

impl ShardReport {
    /// The value of a counter.
    pub fn value(&self, counter: Counter) -> u64 {
        self.values.get(counter.index()).copied().unwrap_or_default()
    }

    /// Change of a counter a second.
    pub fn rate(&self, counter: Counter) -> Option<f64> {
        self.rates.get(counter.index()).copied()
    }

    /// Datagrams that the packet program redirected and the shard has not received. A few are on their way at any time; a
    /// number that grows is a queue that belongs to another shard.
    pub fn xdp_missing(&self) -> u64 {
        self.value(Counter::XdpRedirected).saturating_sub(self.value(Counter::XdpReceived))
    }

    /// Datagrams to the engine's port that the packet program dropped, of every kind.
    pub fn xdp_malformed(&self) -> u64 {
        let kinds = [
            Counter::XdpProgMalformedUdpLength,
            Counter::XdpProgMalformedTooShort,
            Counter::XdpProgMalformedFixedBit,
            Counter::XdpProgMalformedCidLength,
        ];
        kinds.iter().fold(0, |sum: u64, kind| sum.wrapping_add(self.value(*kind)))
    }

    /// Whether packets come through AF_XDP.
    pub fn has_xdp(&self) -> bool {
        let shown = [Counter::XdpRedirected, Counter::XdpReceived, Counter::XdpFillLevel, Counter::XdpWakeups];
        shown.iter().any(|counter| self.value(*counter) > 0)
    }
}

/// Shares of a shard's time, percent; together 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeShares {
    /// In turns that did work.
    pub busy: f64,
    /// In the tasks of encoders' connections.
    pub edge: f64,
    /// In housekeeping.
    pub housekeeping: f64,
    /// Asleep.
    pub sleep: f64,
    /// Awake without work.
    pub spin: f64,
}

impl TimeShares {
    fn of(rate: impl Fn(Counter) -> f64) -> Self {
        // Nanoseconds a second to percent.
        let percent = |counter| (rate(counter) / 1e7).clamp(0.0, 100.0);
        let [busy, edge, housekeeping, sleep] =
            [Counter::BusyNs, Counter::EdgeNs, Counter::HousekeepingNs, Counter::SleepNs].map(percent);
        // Times are published between turns, heartbeats beside them: a sleep that reaches over one is counted late.
        let over = ((busy + edge + housekeeping + sleep) / 100.0).max(1.0);
        let [busy, edge, housekeeping, sleep] = [busy, edge, housekeeping, sleep].map(|share| share / over);
        Self { busy, edge, housekeeping, sleep, spin: (100.0 - busy - edge - housekeeping - sleep).max(0.0) }
    }

    /// Without work, asleep or not.
    pub fn idle(&self) -> f64 {
        self.sleep + self.spin
    }
}

/// One link with one of its readers.
#[derive(Debug, Clone)]
pub struct LinkReport {
    /// Object name.
    pub name: String,
    /// Who reads.
    pub reader: String,
    /// Frags that it holds.
    pub depth: u64,
    /// Frags published in its life.
    pub published: u64,
    /// Frags a second; `None` at the first look.
    pub frags_per_s: Option<f64>,
    /// Bits a second that its ring took, rounded up to whole chunks.
    pub bits_per_s: Option<f64>,
    /// Frags that its reader has still to read.
    pub lag: Option<u64>,
    /// Frags that its reader lost by being slow.
    pub lost: u64,
}

impl Report {
    /// What happened between two samples. Without the first, or when it is of another engine, there are no rates.
    pub fn between(before: Option<&Sample>, after: &Sample) -> Self {
        let before = before.filter(|before| before.generation == after.generation);
        let shards: Vec<ShardReport> = after
            .shards
            .iter()
            .enumerate()
            .map(|(index, shard)| shard_report(index, before.and_then(|b| b.shards.get(index)), shard, after))
            .collect();
        let links = after.links.iter().map(|link| {
            let same = |old: &&LinkSample| old.name == link.name && old.reader == link.reader && old.seq0 == link.seq0;
            link_report(before.and_then(|before| before.links.iter().find(same)), link)
        });
        Self {
            health: Health::of(after),
            pid: after.pid,
            version: after.version.clone(),
            uptime: Duration::from_nanos(after.now_unix_ns.saturating_sub(after.started_unix_ns)),
            generation: after.generation.rsplit('.').next().unwrap_or_default().to_owned(),
            interval: before.map(|before| Duration::from_nanos(after.now_ns.saturating_sub(before.now_ns))),
            all: all(&shards),
            shards,
            links: links.collect(),
            inputs: after.inputs.clone(),
            now_unix_ms: after.now_unix_ns / 1_000_000,
        }
    }
}

/// Change a second of a counter that grows and may wrap. One that went back began anew: nothing is known about it.
pub fn rate(before: u64, after: u64, elapsed_ns: u64) -> f64 {
    let grown = after.wrapping_sub(before);
    if elapsed_ns == 0 || grown > u64::MAX / 2 { 0.0 } else { grown as f64 * 1e9 / elapsed_ns as f64 }
}

fn shard_report(index: usize, before: Option<&ShardSample>, after: &ShardSample, sample: &Sample) -> ShardReport {
    let rates = |before: &ShardSample| {
        // Counters are of the moment of the heartbeat, not of that of the look.
        let elapsed_ns = after.heartbeat_ns.saturating_sub(before.heartbeat_ns);
        let of = |counter: &Counter| rate(before.get(*counter), after.get(*counter), elapsed_ns);
        Counter::ALL.iter().map(of).collect::<Vec<f64>>()
    };
    let beat = |before: &&ShardSample| after.heartbeat_ns > before.heartbeat_ns;
    let time = before.filter(beat).map(rates);
    let share = |rates: Vec<f64>| TimeShares::of(|counter| rates.get(counter.index()).copied().unwrap_or_default());
    let rx = sample.links.iter().find(|link| link.name == streams_contract::names::rx(index));
    ShardReport {
        shard: Some(index),
        signal: after.signal,
        heartbeat_age: age(sample, after),
        values: Counter::ALL.iter().map(|counter| after.get(*counter)).collect(),
        rates: before.map(rates).unwrap_or_default(),
        time: time.map(share),
        rx_fill: rx.and_then(|rx| Some((rx.seq.wrapping_sub(rx.reader_seq?), rx.depth))),
    }
}

/// The sum of all shards; of their times, the mean.
fn all(shards: &[ShardReport]) -> ShardReport {
    let times: Vec<TimeShares> = shards.iter().filter_map(|shard| shard.time).collect();
    let mean = |share: fn(&TimeShares) -> f64| times.iter().map(share).sum::<f64>() / times.len().max(1) as f64;
    let known = shards.iter().all(|shard| !shard.rates.is_empty());
    let sum_rate = |counter: &Counter| shards.iter().filter_map(|shard| shard.rate(*counter)).sum();
    ShardReport {
        shard: None,
        signal: shards.iter().map(|shard| shard.signal).find(|s| *s != Signal::Run).unwrap_or(Signal::Run),
        heartbeat_age: shards.iter().map(|shard| shard.heartbeat_age).max().unwrap_or_default(),
        values: Counter::ALL
            .iter()
            .map(|counter| shards.iter().fold(0, |sum: u64, shard| sum.wrapping_add(shard.value(*counter))))
            .collect(),
        rates: if known { Counter::ALL.iter().map(sum_rate).collect() } else { Vec::new() },
        time: (!times.is_empty()).then(|| TimeShares {
            busy: mean(|time| time.busy),
            edge: mean(|time| time.edge),
            housekeeping: mean(|time| time.housekeeping),
            sleep: mean(|time| time.sleep),
            spin: mean(|time| time.spin),
        }),
        rx_fill: None,
    }
}

fn link_report(before: Option<&LinkSample>, after: &LinkSample) -> LinkReport {
    let elapsed_ns = |before: &LinkSample| after.at_ns.saturating_sub(before.at_ns);
    let bits = |before: &LinkSample| {
        let chunks = match (before.chunk, after.chunk) {
            (Some(old), Some(new)) => u64::from(new.wrapping_sub(old)),
            _ => 0,
        };
        rate(0, chunks.saturating_mul(LinkView::CHUNK_LEN * 8), elapsed_ns(before))
    };
    LinkReport {
        name: after.name.clone(),
        reader: after.reader.clone(),
        depth: after.depth,
        published: after.seq.wrapping_sub(after.seq0),
        frags_per_s: before.map(|before| rate(before.seq, after.seq, elapsed_ns(before))),
        bits_per_s: before.map(bits),
        lag: after.reader_seq.map(|reader| after.seq.wrapping_sub(reader)),
        lost: after.lost,
    }
}

/// Counters whose change a second means something to a person: what only grows and is no time.
pub fn has_rate(counter: Counter) -> bool {
    counter.kind() == CounterKind::Total && counter.unit() != "ns"
}
