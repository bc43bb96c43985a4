//! The columns of each table: what they show, how wide they are, and which go first when the screen is narrow.

use streams_contract::{Counter, InputState, RuntimeEntry};
use streams_rings::Signal;

use super::numbers::{bytes, count, percent, short, time};
use super::report::{LinkReport, Report, ShardReport};

/// How a cell is to be taken; the only thing that colours stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Plain,
    /// Nothing to see.
    Quiet,
    /// Worth a look.
    Warn,
    /// Something is lost or dead.
    Bad,
}

/// Text of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it is to be taken.
    pub tone: Tone,
}

impl Cell {
    fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// A number of which none is the usual case.
    fn quiet_zero(text: String, tone: Tone) -> Self {
        let tone = if text == "0" { Tone::Quiet } else { tone };
        Self { text, tone }
    }

    fn unknown() -> Self {
        Self::new("-", Tone::Quiet)
    }
}

/// A column over rows of `T`.
pub struct Column<T> {
    /// Its head.
    pub title: &'static str,
    /// Characters of its widest usual cell.
    pub width: u16,
    /// Lower ranks stay when there is no room for all.
    pub rank: u8,
    /// Text to the left, numbers to the right.
    pub left: bool,
    /// What it says of a row.
    pub cell: fn(&T) -> Cell,
}

const fn number<T>(title: &'static str, width: u16, rank: u8, cell: fn(&T) -> Cell) -> Column<T> {
    Column { title, width, rank, left: false, cell }
}

const fn words<T>(title: &'static str, width: u16, rank: u8, cell: fn(&T) -> Cell) -> Column<T> {
    Column { title, width, rank, left: true, cell }
}

/// The columns that fit `width` with a space between them, those of low rank first, in the order of the table.
pub fn fitting<T>(columns: &[Column<T>], width: u16) -> Vec<&Column<T>> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|index| columns.get(*index).map(|column| column.rank));
    let (mut taken, mut left) = (Vec::new(), u32::from(width) + 1);
    for index in by_rank {
        let Some(column) = columns.get(index) else { continue };
        let needs = u32::from(column.width) + 1;
        if needs <= left {
            left -= needs;
            taken.push(index);
        }
    }
    taken.sort_unstable();
    taken.into_iter().filter_map(|index| columns.get(index)).collect()
}

fn per_second(row: &ShardReport, counter: Counter, scale: f64, tone: Tone) -> Cell {
    row.rate(counter).map_or_else(Cell::unknown, |rate| Cell::quiet_zero(short(rate * scale), tone))
}

fn share(value: Option<f64>, warn_from: f64) -> Cell {
    let tone = |value: f64| if value >= warn_from { Tone::Warn } else { Tone::Plain };
    value.map_or_else(Cell::unknown, |value| Cell::quiet_zero(percent(value), tone(value)))
}

fn gauge(row: &ShardReport, counter: Counter) -> Cell {
    Cell::quiet_zero(count(row.value(counter)), Tone::Plain)
}

fn lost(value: u64) -> Cell {
    Cell::quiet_zero(count(value), Tone::Bad)
}

/// The word for a shard's life cycle.
pub fn state(signal: Signal) -> &'static str {
    match signal {
        Signal::Run => "run",
        Signal::Boot => "boot",
        Signal::Fail => "failed",
        Signal::Halt => "halt",
    }
}

fn state_cell(row: &ShardReport) -> Cell {
    match row.signal {
        _ if row.heartbeat_age >= streams_control::program::HEARTBEAT_FRESH => Cell::new("silent", Tone::Bad),
        Signal::Run => Cell::plain("run"),
        Signal::Fail => Cell::new("failed", Tone::Bad),
        other => Cell::new(state(other), Tone::Warn),
    }
}

fn fill(row: &ShardReport) -> Cell {
    let Some((fill, depth)) = row.rx_fill else { return Cell::unknown() };
    let tone = if fill * 2 > depth { Tone::Warn } else { Tone::Plain };
    Cell::quiet_zero(percent(fill as f64 * 100.0 / depth.max(1) as f64), tone)
}

/// A shard that is busy for so much of its time has little left for a peak.
const BUSY_WARN: f64 = 80.0;
/// Never reached by a share of time: nothing to warn of.
const NO_WARN: f64 = 1000.0;

/// Shards.
pub const SHARDS: &[Column<ShardReport>] = &[
    words("shard", 5, 0, |row| Cell::plain(row.shard.map_or("all".to_owned(), |shard| shard.to_string()))),
    words("state", 6, 9, state_cell),
    number("busy%", 5, 1, |row| share(row.time.map(|time| time.busy), BUSY_WARN)),
    number("edge%", 5, 12, |row| share(row.time.map(|time| time.edge), BUSY_WARN)),
    number("house%", 6, 5, |row| share(row.time.map(|time| time.housekeeping), 10.0)),
    number("idle%", 5, 4, |row| share(row.time.map(|time| time.idle()), NO_WARN)),
    number("sleep%", 6, 16, |row| share(row.time.map(|time| time.sleep), NO_WARN)),
    number("in pkt/s", 8, 3, |row| per_second(row, Counter::RxDatagrams, 1.0, Tone::Plain)),
    number("in bit/s", 8, 6, |row| per_second(row, Counter::RxBytes, 8.0, Tone::Plain)),
    number("out pkt/s", 9, 2, |row| per_second(row, Counter::TxDatagrams, 1.0, Tone::Plain)),
    number("out bit/s", 9, 1, |row| per_second(row, Counter::TxBytes, 8.0, Tone::Plain)),
    number("conns", 5, 7, |row| gauge(row, Counter::ConnectionsOpen)),
    number("sess", 5, 2, |row| gauge(row, Counter::SessionsOpen)),
    number("subs", 5, 13, |row| gauge(row, Counter::SubscriptionsOpen)),
    number("rxfill%", 7, 11, fill),
    number("overrun", 7, 8, |row| lost(row.value(Counter::RxOverrun).wrapping_add(row.value(Counter::MediaOverrun)))),
    number("dropped", 7, 14, |row| Cell::quiet_zero(count(row.value(Counter::RxDropped)), Tone::Warn)),
    number("blocked/s", 9, 12, |row| per_second(row, Counter::TxBlocked, 1.0, Tone::Warn)),
    number("late grp", 8, 14, |row| Cell::quiet_zero(count(row.value(Counter::GroupsDropped)), Tone::Warn)),
    number("toss in/s", 9, 15, |row| per_second(row, Counter::TossIn, 1.0, Tone::Plain)),
    number("toss out/s", 10, 15, |row| per_second(row, Counter::TossOut, 1.0, Tone::Plain)),
    number("enc", 3, 10, |row| gauge(row, Counter::IngestOpen)),
    number("ing bit/s", 9, 9, |row| per_second(row, Counter::IngestBytes, 8.0, Tone::Plain)),
    number("cache", 9, 10, |row| Cell::plain(bytes(row.value(Counter::CacheBytes)))),
];

/// Shards behind AF_XDP.
pub const XDP: &[Column<ShardReport>] = &[
    words("xdp", 5, 0, |row| Cell::plain(row.shard.map_or("all".to_owned(), |shard| shard.to_string()))),
    number("redirected", 10, 1, |row| Cell::plain(count(row.value(Counter::XdpRedirected)))),
    number("received", 8, 1, |row| Cell::plain(count(row.value(Counter::XdpReceived)))),
    number("missing", 7, 1, |row| Cell::quiet_zero(count(row.xdp_missing()), Tone::Warn)),
    number("dropped", 7, 2, |row| lost(row.value(Counter::XdpRxDropped))),
    number("fill", 5, 3, |row| Cell::plain(count(row.value(Counter::XdpFillLevel)))),
    number("rx", 5, 3, |row| gauge(row, Counter::XdpRxLevel)),
    number("tx", 5, 3, |row| gauge(row, Counter::XdpTxLevel)),
    number("compl", 5, 3, |row| gauge(row, Counter::XdpCompletionLevel)),
    number("wakeups/s", 9, 4, |row| per_second(row, Counter::XdpWakeups, 1.0, Tone::Plain)),
    words("driven by", 10, 5, driven_by),
    number("malformed", 9, 3, |row| Cell::quiet_zero(count(row.xdp_malformed()), Tone::Warn)),
    number("no socket", 9, 5, |row| Cell::quiet_zero(count(row.value(Counter::XdpProgNoSocket)), Tone::Warn)),
    number("wrong shard", 11, 6, |row| gauge(row, Counter::XdpProgWrongShard)),
    number("not ours", 8, 7, |row| gauge(row, Counter::XdpProgPassed)),
    number("no metadata", 11, 8, |row| Cell::quiet_zero(count(row.value(Counter::XdpNoMetadata)), Tone::Warn)),
    number("unreadable", 10, 8, |row| Cell::quiet_zero(count(row.value(Counter::XdpUnreadable)), Tone::Warn)),
];

/// What has the driver look at a shard's queue; for all shards: how many poll.
fn driven_by(row: &ShardReport) -> Cell {
    match (row.value(Counter::XdpBusyPoll), row.shard) {
        (0, _) => Cell::plain("interrupts"),
        (_, Some(_)) => Cell::plain("busy poll"),
        (polling, None) => Cell::plain(format!("{polling} polled")),
    }
}

/// Links.
pub const LINKS: &[Column<LinkReport>] = &[
    words("link", 10, 0, |row| Cell::plain(&*row.name)),
    words("reader", 8, 0, |row| Cell::plain(&*row.reader)),
    number("frags/s", 7, 1, |row| optional(row.frags_per_s)),
    number("bit/s", 6, 2, |row| optional(row.bits_per_s)),
    number("lag", 6, 1, |row| {
        row.lag.map_or_else(Cell::unknown, |lag| Cell::quiet_zero(count(lag), lag_tone(row, lag)))
    }),
    number("lag%", 5, 4, |row| {
        let of_depth = |lag: u64| percent(lag as f64 * 100.0 / row.depth.max(1) as f64);
        row.lag.map_or_else(Cell::unknown, |lag| Cell::quiet_zero(of_depth(lag), lag_tone(row, lag)))
    }),
    number("depth", 6, 5, |row| Cell::plain(row.depth.to_string())),
    number("overrun", 7, 2, |row| lost(row.lost)),
    number("sequence", 12, 3, |row| Cell::plain(row.published.to_string())),
];

fn optional(rate: Option<f64>) -> Cell {
    rate.map_or_else(Cell::unknown, |rate| Cell::quiet_zero(short(rate), Tone::Plain))
}

/// A reader that is half a ring behind will soon lose something.
fn lag_tone(row: &LinkReport, lag: u64) -> Tone {
    if lag * 2 > row.depth { Tone::Warn } else { Tone::Plain }
}

/// An input, and how long its state has held.
pub struct InputRow {
    /// As its home shard tells it.
    pub entry: RuntimeEntry,
    /// Since the state holds.
    pub since: std::time::Duration,
}

impl InputRow {
    /// The inputs of a report, those of one shard together.
    pub fn all(report: &Report) -> Vec<Self> {
        let age = |since_ms: u64| std::time::Duration::from_millis(report.now_unix_ms.saturating_sub(since_ms));
        report.inputs.iter().map(|entry| Self { since: age(entry.since_ms), entry: entry.clone() }).collect()
    }
}

/// Inputs.
pub const INPUTS: &[Column<InputRow>] = &[
    words("input", 29, 0, |row| Cell::plain(&*row.entry.input)),
    words("state", 12, 0, |row| match &row.entry.state {
        InputState::Active => Cell::plain("active"),
        other => Cell::new(other.as_str(), Tone::Warn),
    }),
    number("since", 6, 2, |row| Cell::plain(time(row.since))),
    words("from", 4, 3, |row| Cell::plain(row.entry.protocol.as_str())),
    number("home", 4, 1, |row| Cell::plain(row.entry.shard.to_string())),
    words("tracks", 40, 4, |row| {
        let track = |track: &streams_contract::RuntimeTrack| match (track.width, track.height) {
            (Some(width), Some(height)) => format!("{} {width}x{height}", track.codec),
            _ => track.codec.clone(),
        };
        Cell::plain(row.entry.tracks.iter().map(track).collect::<Vec<_>>().join(", "))
    }),
];
