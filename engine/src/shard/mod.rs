//! One shard: everything that one core does, as a plain struct with a [`Shard::turn`].
//!
//! ```text
//!   wire -> backend -> rx link -> QUIC endpoint -> relay <- links of other shards
//!                                                  |  ^ <- inputs (encoders whose home is here)
//!   wire <- backend <----- trains <- QUIC <- visit '  '--> media link, ask links
//! ```
//!
//! A turn never blocks and never sleeps; whoever hosts it (see [`crate::host`]) decides what happens between turns.

mod clock;
mod control;
mod counting;
mod datagrams;
mod edge;
mod house;
mod links;
mod mailbox;
mod messages;
mod rx;
mod sink;
mod toss;
mod tuning;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_contract::{Event, Protocol, Tunable, TunableValues};
use streams_logs::Seldom;
use streams_relay_core::relay::{Relay, RelayConfig, SessionId};
use streams_rings::Signal;
use tracing::warn;

use self::clock::{nanos, unix_ms};
use self::house::HOUSEKEEPING_INTERVAL;
use self::sink::Sink;
use crate::EngineError;
use crate::backend::{PacketBackend, Sent};
use crate::broadcast::{Admission, FileWork, InputContext, Inputs};
use crate::directory::Announced;
use crate::quic::{Endpoint, EndpointStats, TlsFiles};

pub use control::{ControlSide, wait_for_control};
pub use datagrams::IngestStats;
pub use edge::WhipAdmission;
pub use links::Links;
pub use mailbox::{EncoderHandOver, Mailbox, Parcel};
pub use rx::RxLink;
pub use toss::Tosses;
pub use tuning::{StartWish, Waiting, start_wishes, untuned};

/// The parts of a shard, made by [`crate::start`].
pub struct ShardParts {
    /// Index of this shard.
    pub shard: usize,
    /// How packets come and go.
    pub backend: Box<dyn PacketBackend>,
    /// Received datagrams.
    pub rx: RxLink,
    /// Datagrams that arrived at one shard and belong to another.
    pub tosses: Tosses,
    /// QUIC.
    pub endpoint: Endpoint,
    /// Certificate files, for reloads.
    pub tls: TlsFiles,
    /// Relay settings.
    pub relay: RelayConfig,
    /// What it runs with while nothing is tuned.
    pub untuned: TunableValues,
    /// Control's side.
    pub control: ControlSide,
    /// Links to the other shards.
    pub links: Links,
    /// Track directories.
    pub announced: Announced,
    /// Live inputs at home here.
    pub inputs: Inputs,
    /// Boxes for encoders of all shards, this one's included.
    pub mailboxes: Vec<Arc<Mailbox>>,
}

/// What a turn leaves to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Work was done; there may be more.
    Busy,
    /// Nothing to do before this time, unless something arrives.
    Idle(Instant),
    /// The shard is drained and has said so to its peers, or has failed (see [`Shard::take_failure`]).
    Stopped,
}

/// The [`Sink`] of a shard whose other parts stay usable.
macro_rules! sink {
    ($shard:ident) => {
        Sink {
            relay: &mut $shard.relay,
            tables: $shard.parts.control.tables(),
            now: $shard.now,
            sessions: &mut $shard.sessions,
            left: &mut $shard.sessions_left,
        }
    };
}

/// One shard.
pub struct Shard {
    parts: ShardParts,
    relay: Relay,
    now: Instant,
    unix_ms: u64,
    housekeeping_interval: Duration,
    housekeeping_due: Instant,
    /// Encoders handed to this shard, for the listener to take.
    arrived: Vec<EncoderHandOver>,
    /// The port of the edge's datagrams, which other shards toss here beside QUIC's; and those that came.
    datagram_port: Option<u16>,
    tossed: Vec<(Vec<u8>, SocketAddr)>,
    ingest: IngestStats,
    edge: edge::EdgeSide,
    /// Sessions now, and where their peers are.
    sessions: HashMap<SessionId, SocketAddr>,
    /// What each session is about, from when it was let in.
    resources: HashMap<SessionId, String>,
    /// Sessions whose peer left in this turn.
    sessions_left: Vec<SessionId>,
    sessions_opened: u64,
    auth_failed: u64,
    turns_busy: u64,
    turns_idle: u64,
    busy_ns: u64,
    housekeeping_ns: u64,
    edge_ns: u64,
    sleep_ns: u64,
    sleeps: u64,
    /// Time of this turn that is counted as housekeeping.
    turn_worked: Duration,
    /// What the shard runs with.
    tuned: TunableValues,
    /// When the keys of MoQT publishers were checked last.
    publishers_checked: Instant,
    /// What was saved of inputs that do not exist any more has been removed.
    leftovers_removed: bool,
    /// Nobody new is let in.
    draining: bool,
    /// Set when the engine stops: when the shard is done at the latest.
    stopping: Option<Instant>,
    closed_all: bool,
    /// Why the shard cannot go on.
    failure: Option<EngineError>,
}

impl Shard {
    /// A shard that has not turned yet.
    pub fn new(mut parts: ShardParts, now: Instant) -> Self {
        let batch = usize::try_from(parts.untuned.get(Tunable::RecvBatch)).unwrap_or(usize::MAX);
        parts.untuned.set(Tunable::RecvBatch, parts.backend.set_recv_batch(batch) as u64);
        Self {
            tuned: parts.untuned,
            relay: Relay::new(parts.relay.clone()),
            parts,
            now,
            unix_ms: unix_ms(),
            housekeeping_interval: HOUSEKEEPING_INTERVAL,
            housekeeping_due: now,
            arrived: Vec::new(),
            datagram_port: None,
            tossed: Vec::new(),
            ingest: IngestStats::default(),
            edge: edge::EdgeSide::default(),
            sessions: HashMap::new(),
            resources: HashMap::new(),
            sessions_left: Vec::new(),
            sessions_opened: 0,
            auth_failed: 0,
            turns_busy: 0,
            turns_idle: 0,
            busy_ns: 0,
            housekeeping_ns: 0,
            edge_ns: 0,
            sleep_ns: 0,
            sleeps: 0,
            turn_worked: Duration::ZERO,
            publishers_checked: now,
            leftovers_removed: false,
            draining: false,
            stopping: None,
            closed_all: false,
            failure: None,
        }
    }

    /// Why it stopped, when that was no wish of the operator.
    pub fn take_failure(&mut self) -> Option<EngineError> {
        self.failure.take()
    }

    /// Index of this shard.
    pub fn index(&self) -> usize {
        self.parts.shard
    }

    /// What the QUIC endpoint counted.
    pub fn quic_stats(&self) -> EndpointStats {
        self.parts.endpoint.stats()
    }

    /// Has housekeeping, whose timer would hide that nothing else woke the shard, come so seldom, or so often.
    #[cfg(test)]
    pub fn keep_house_every(&mut self, interval: Duration) {
        self.housekeeping_interval = interval;
    }

    /// Does what there is to do at `now`.
    pub fn turn(&mut self, now: Instant) -> Turn {
        self.now = now;
        self.unix_ms = unix_ms();
        self.relay.set_time(self.unix_ms);
        self.turn_worked = Duration::ZERO;
        let mut busy = self.housekeeping();
        if self.failure.is_some() {
            return Turn::Stopped;
        }
        busy |= self.control();
        busy |= self.directories();
        busy |= self.encoders();
        busy |= self.tossed();
        busy |= self.receive();
        busy |= self.parts.links.poll(now, &mut self.relay);
        self.timers();
        busy |= self.events();
        busy |= self.send();
        busy |= self.events();
        self.tell_left();
        let waiting = self.parts.links.flush();
        if !waiting {
            self.parts.announced.commit();
        }
        busy |= waiting;
        if let Some(deadline) = self.stopping {
            return self.stop_step(deadline);
        }
        if busy || self.parts.endpoint.wants_flush() {
            self.turns_busy += 1;
            self.busy_ns += nanos(now.elapsed().saturating_sub(self.turn_worked));
            return Turn::Busy;
        }
        self.turns_idle += 1;
        let timers = [self.parts.endpoint.next_timeout(), self.relay.next_timeout()];
        let due = timers.into_iter().flatten().fold(self.housekeeping_due, Instant::min);
        Turn::Idle(due)
    }

    /// The host put the shard to sleep once more, for so long.
    pub fn count_sleep(&mut self, slept: Duration) {
        self.sleeps += 1;
        self.sleep_ns += nanos(slept);
    }

    /// Tasks of the edge ran for so long.
    pub fn count_edge(&mut self, spent: Duration) {
        self.edge_ns += nanos(spent);
    }

    // ---- what the encoders' tasks use -----------------------------------------------------------------------------

    /// Time of the last turn and the wall clock, for calls between turns.
    pub fn tick_clock(&mut self, now: Instant) {
        self.now = now;
        self.unix_ms = unix_ms();
    }

    /// Runs a step on the inputs.
    pub fn with_inputs<R>(&mut self, step: impl FnOnce(&mut Inputs, &mut InputContext<'_>) -> R) -> R {
        let mut context = InputContext {
            now: self.now,
            unix_ms: self.unix_ms,
            relay: &mut self.relay,
            announced: &mut self.parts.announced,
        };
        step(&mut self.parts.inputs, &mut context)
    }

    /// Checks a stream key against what control has written up to now.
    pub fn admit(&mut self, protocol: &Protocol, key: &str) -> Admission {
        if self.draining {
            return Admission::refused("this server is about to stop; connect to another one", None);
        }
        self.apply_table_changes();
        self.parts.inputs.admit(self.parts.control.tables(), protocol, key, self.unix_ms)
    }

    /// Hands an encoder to its home shard; false when that shard's box is full, and the encoder is gone then.
    pub fn hand_over(&mut self, home: usize, encoder: EncoderHandOver) -> bool {
        let parcel = Parcel::Encoder(encoder);
        let posted = self.parts.mailboxes.get(home).is_some_and(|mailbox| mailbox.post(parcel));
        self.ingest.hand_overs += u64::from(posted);
        posted
    }

    /// Files to be written or removed since this was asked last. They may wait for a disk, so the host does it.
    pub fn take_file_work(&mut self) -> Vec<FileWork> {
        self.parts.inputs.take_file_work()
    }

    /// Counters that the encoders' tasks keep.
    pub fn ingest_stats(&mut self) -> &mut IngestStats {
        &mut self.ingest
    }

    /// Tells control something.
    pub fn event(&mut self, event: &Event) {
        self.parts.control.event(event);
    }

    // ---- the steps of a turn --------------------------------------------------------------------------------------

    fn receive(&mut self) -> bool {
        let mut any = false;
        let now_us = streams_rings::now_us();
        let began = Instant::now();
        for _ in 0..self.tuned.get(Tunable::RecvRounds) {
            let received = match self.parts.rx.fill(self.parts.backend.as_mut()) {
                Ok(received) => received,
                Err(error) => {
                    self.warn_seldom("receiving failed", &error);
                    return any;
                }
            };
            any |= received > 0;
            let local = self.parts.backend.local_addr();
            let mut sink = sink!(self);
            while let Some((datagram, arrival)) = self.parts.rx.next(local) {
                let toss =
                    self.parts.endpoint.datagram(self.now, datagram, arrival, self.parts.backend.as_mut(), &mut sink);
                let Some(toss) = toss else { continue };
                if !self.parts.tosses.toss(toss.shard, datagram, arrival, now_us) {
                    self.parts.endpoint.orphan(datagram, arrival.from, self.parts.backend.as_mut());
                }
            }
            // A batch that is not full was the last: asking once more would cost a system call to hear so.
            if (received as u64) < self.tuned.get(Tunable::RecvBatch) || began.elapsed() > RECEIVE_TIME_MAX {
                break;
            }
        }
        self.parts.tosses.flush();
        any
    }

    /// A machine that is out of something may fail at every turn.
    fn warn_seldom(&self, what: &str, error: &std::io::Error) {
        static FAILED: Seldom = Seldom::new();
        if let Some(left_out) = FAILED.pass(self.now) {
            warn!(shard = self.parts.shard, %error, left_out, "{what}");
        }
    }

    /// Learns which namespaces came and went on other shards. A shard withdraws a namespace after it has said how its tracks
    /// ended, so what is in the links by now is read first.
    fn directories(&mut self) -> bool {
        if !self.parts.announced.changed() {
            return false;
        }
        while self.parts.links.poll(self.now, &mut self.relay) {}
        self.parts.announced.refresh(self.now, &mut self.relay)
    }

    fn encoders(&mut self) -> bool {
        let Some(mailbox) = self.parts.mailboxes.get(self.parts.shard) else { return false };
        let parcels: Vec<Parcel> = std::iter::from_fn(|| mailbox.take()).collect();
        let any = !parcels.is_empty();
        for parcel in parcels {
            match parcel {
                Parcel::Encoder(encoder) => self.arrived.push(encoder),
                Parcel::Whip(letter) => self.edge.letters.push(letter),
                Parcel::Yield { input } => self.with_inputs(|inputs, context| inputs.yield_home(context, &input)),
            }
        }
        any
    }

    /// Datagrams of this shard's connections that arrived at others.
    fn tossed(&mut self) -> bool {
        let mut any = false;
        let mut sink = sink!(self);
        self.parts.tosses.begin_turn();
        while let Some((datagram, arrival)) = self.parts.tosses.next() {
            any = true;
            if self.datagram_port == Some(arrival.to.port()) {
                self.tossed.push((datagram.to_vec(), arrival.from));
                continue;
            }
            // A datagram is tossed once: its id names this shard, so it stays here whatever becomes of it.
            let _ = self.parts.endpoint.datagram(self.now, datagram, arrival, self.parts.backend.as_mut(), &mut sink);
        }
        any
    }

    fn timers(&mut self) {
        let mut sink = sink!(self);
        self.parts.endpoint.handle_timeouts(self.now, &mut sink);
        if self.relay.next_timeout().is_some_and(|due| due <= self.now) {
            self.relay.handle_timeout(self.now, self.unix_ms, self.parts.control.tables());
        }
    }

    fn send(&mut self) -> bool {
        let mut any = false;
        for _ in 0..self.tuned.get(Tunable::SendRounds) {
            while let Some(session) = self.relay.next_dirty() {
                self.parts.endpoint.wake(session);
            }
            if !self.parts.endpoint.wants_flush() {
                break;
            }
            any = true;
            let mut sink = sink!(self);
            if let Err(error) = self.parts.endpoint.flush(self.now, self.parts.backend.as_mut(), &mut sink) {
                self.warn_seldom("sending failed", &error);
            }
        }
        match self.parts.backend.kick() {
            // What found no room is offered again with the next turn.
            Ok(sent) => any |= sent == Sent::Blocked,
            Err(error) => self.warn_seldom("sending failed", &error),
        }
        any
    }

    fn events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.relay.poll_event() {
            any = true;
            if let Some(event) = self.parts.links.handle(event, streams_rings::now_us()) {
                self.relay_event(event);
            }
        }
        any
    }

    // ---- the end --------------------------------------------------------------------------------------------------

    /// Sessions are told to go away and have `patience` for it; new ones and new encoders are refused from now on.
    fn drain(&mut self, patience: Duration) {
        self.draining = true;
        self.parts.endpoint.refuse_new();
        self.relay.drain(self.now, patience);
    }

    /// Begins to stop: broadcasts end, sessions are told to go away, and after `patience` the rest is closed.
    pub fn stop(&mut self, patience: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.now + patience);
        self.with_inputs(|inputs, context| inputs.end_all(context));
        self.drain(patience);
    }

    fn stop_step(&mut self, deadline: Instant) -> Turn {
        let empty = self.parts.endpoint.connections() == 0;
        if !self.closed_all && self.now >= deadline {
            self.closed_all = true;
            // 0x4 is GOING_AWAY nowhere among session codes; NO_ERROR with words is what a client can act on.
            self.parts.endpoint.close_all(0, "the server is shutting down");
            return Turn::Busy;
        }
        if empty || self.closed_all {
            self.parts.control.beat(Signal::Halt);
            return Turn::Stopped;
        }
        Turn::Idle(deadline.min(self.now + HOUSEKEEPING_INTERVAL))
    }
}

/// A turn receives no longer before it sends. A batch of good packets takes some 100 us; one of packets that each hold a hundred
/// pieces of a stream takes milliseconds, and viewers must not wait for sixteen of them.
const RECEIVE_TIME_MAX: Duration = Duration::from_millis(2);
/// Most shards of one engine. Every ordered pair of them has links of its own (8.5 MiB a pair with the default sizes, nearly
/// all of it for replays), so 64 shards take some 36 GiB of shared memory, and the ids of connections have one byte for the shard.
const SHARDS_MAX: usize = 64;

/// Checks that the parts fit together before a thread is started for them.
pub fn check_shards(shards: usize) -> Result<(), EngineError> {
    if (1..=SHARDS_MAX).contains(&shards) {
        return Ok(());
    }
    let range = format!("1 to {SHARDS_MAX} are possible (set `[engine] shards`)");
    Err(EngineError::Setting(format!("{shards} shards were asked for; {range}")))
}
