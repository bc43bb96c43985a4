//! What an operator tunes (`streams tune`): read from control's table in housekeeping, put into the shard's parts, told back.

use std::path::Path;
use std::time::Duration;

use streams_config::{Config, Poll};
use streams_contract::{self as contract, Applies, ShardsSizes, Tunable, TunableValues, Tunables, names};
use streams_relay_core::relay::RelayTuning;
use streams_rings::{Access, RingsError, Table, TableRead, Workspace};
use tracing::info;

use super::Shard;
use super::control::current_generation;
use crate::backend::{BusyPoll, RingSizes, XdpShardWish};
use crate::directory::ReadStats;
use crate::host::PollMode;
use crate::quic::{EndpointLimits, EndpointTuning};

/// Batches received in one turn before others get their share. With kernel sockets as many datagrams as the visits below, for
/// each visit is answered by an acknowledgement: less, and a busy shard loses them.
const RECV_ROUNDS: u64 = 16;
/// Flush rounds in one turn, of 64 visits each.
const SEND_ROUNDS: u64 = 4;
/// How long an adaptive shard goes on looking before it sleeps. Not at all: beside some hundred viewers acknowledgements come every
/// 50 to 100 µs, and looking on for them took a third of the shard's time to save a tenth of it.
const SPIN_US: u64 = 0;
/// How long an adaptive shard that has just worked lets packets gather: woken by each acknowledgement alone, it spent a fifth of
/// its time on falling asleep and waking up. Short beside the round trip of any viewer that is not in the same rack.
const NAP_US: u64 = 200;
/// As many datagrams a call as any backend takes; each says how many that is.
const RECV_BATCH: u64 = 64;
/// Places of the words of `poll`.
const POLL_ADAPTIVE: u64 = 0;
const POLL_BUSY: u64 = 1;

/// How a shard's host waits for work.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Whether it ever sleeps.
    pub poll: PollMode,
    /// How long it looks on before it does.
    pub spin: Duration,
    /// How long packets gather after work.
    pub nap: Duration,
}

/// What a shard runs with while nothing is tuned. `xdp`: what it has of AF_XDP.
pub fn untuned(
    config: &Config,
    limits: &EndpointLimits,
    sizes: &ShardsSizes,
    xdp: Option<&XdpShardWish>,
) -> TunableValues {
    let of_rings = |frames: fn(&RingSizes) -> u32| xdp.map_or(0, |xdp| frames(&xdp.sizes).into());
    let busy_poll = xdp.and_then(|xdp| xdp.busy_poll);
    TunableValues::from_fn(|tunable| match tunable {
        Tunable::RecvBatch => RECV_BATCH,
        Tunable::RecvRounds => RECV_ROUNDS,
        Tunable::SendRounds => SEND_ROUNDS,
        Tunable::VisitPackets => limits.visit_packets,
        Tunable::Poll => match config.engine.poll {
            Poll::Adaptive => POLL_ADAPTIVE,
            Poll::Busy => POLL_BUSY,
        },
        Tunable::SpinUs => SPIN_US,
        Tunable::NapUs => NAP_US,
        Tunable::RetryHalfOpenMin => limits.retry_half_open_min as u64,
        Tunable::SessionsMax => limits.connections_max as u64,
        Tunable::DeliveryTimeoutMs => config.relay.delivery_timeout_ms,
        Tunable::CacheBytesMax => config.relay.cache_shard_bytes_max as u64,
        Tunable::RxDepth => sizes.rx_depth as u64,
        Tunable::RxBytes => sizes.rx_len as u64,
        Tunable::MediaDepth => sizes.media_depth as u64,
        Tunable::MediaBytes => sizes.media_len as u64,
        Tunable::AskBytes => sizes.ask_len as u64,
        Tunable::XdpFillFrames => of_rings(|rings| rings.fill),
        Tunable::XdpRxFrames => of_rings(|rings| rings.rx),
        Tunable::XdpTxFrames => of_rings(|rings| rings.tx),
        Tunable::XdpCompletionFrames => of_rings(|rings| rings.completion),
        Tunable::XdpSendFrames => of_rings(|rings| rings.send_frames),
        Tunable::XdpBusyPollUs => busy_poll.map_or(0, |busy_poll| busy_poll.microseconds.into()),
        Tunable::XdpBusyPollBudget => busy_poll.map_or(0, |busy_poll| busy_poll.budget.into()),
    })
}

/// What of a shard is made once, when the engine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartWish {
    /// Sizes of its links.
    pub links: ShardsSizes,
    /// Its part of AF_XDP, should there be any.
    pub xdp: XdpShardWish,
}

impl StartWish {
    /// What is configured, and the usual where there is no key for it.
    pub fn untuned(config: &Config) -> Self {
        Self::tuned(config, &Tunables::default(), &Tunables::default())
    }

    fn tuned(config: &Config, all: &Tunables, own: &Tunables) -> Self {
        let wish = |tunable| own.get(tunable).or_else(|| all.get(tunable));
        let len = |tunable, usual: usize| wish(tunable).map_or(usual, size);
        let number = |tunable, usual: u32| wish(tunable).and_then(|value| u32::try_from(value).ok()).unwrap_or(usual);
        let (engine, usual) = (&config.engine, ShardsSizes::default());
        let configured = RingSizes::configured(engine);
        let busy = wish(Tunable::Poll).map_or(engine.poll == Poll::Busy, |poll| poll == POLL_BUSY);
        let busy_poll = BusyPoll {
            microseconds: number(Tunable::XdpBusyPollUs, engine.xdp_busy_poll_us),
            budget: number(Tunable::XdpBusyPollBudget, engine.xdp_busy_poll_budget),
        };
        Self {
            links: ShardsSizes {
                rx_depth: len(Tunable::RxDepth, usual.rx_depth),
                rx_len: len(Tunable::RxBytes, usual.rx_len),
                media_depth: len(Tunable::MediaDepth, usual.media_depth),
                media_len: len(Tunable::MediaBytes, usual.media_len),
                ask_len: len(Tunable::AskBytes, usual.ask_len),
                ..usual
            },
            xdp: XdpShardWish {
                sizes: RingSizes {
                    fill: number(Tunable::XdpFillFrames, configured.fill),
                    rx: number(Tunable::XdpRxFrames, configured.rx),
                    tx: number(Tunable::XdpTxFrames, configured.tx),
                    completion: number(Tunable::XdpCompletionFrames, configured.completion),
                    send_frames: number(Tunable::XdpSendFrames, configured.send_frames),
                },
                busy_poll: Some(busy_poll).filter(|busy_poll| busy && busy_poll.microseconds > 0),
            },
        }
    }
}

/// What each shard is to start with, as configured and tuned.
pub fn start_wishes(config: &Config, run_dir: &Path, shards: usize) -> Result<Vec<StartWish>, RingsError> {
    let control = Workspace::join(current_generation(run_dir), Access::ReadOnly)?;
    let of = |shard| {
        let (all, own) = Wishes::join(&control, shard)?.read(&mut ReadStats::default()).unwrap_or_default();
        Ok(StartWish::tuned(config, &all, &own))
    };
    (0..shards).map(of).collect()
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The entries of control's table `tunables` that concern one shard.
pub(super) struct Wishes {
    table: Table,
    shard: usize,
    seen: Option<u64>,
    raw: Vec<u8>,
}

impl Wishes {
    /// Everything is new at the first look.
    pub(super) fn join(control: &Workspace, shard: usize) -> Result<Self, RingsError> {
        Ok(Self { table: control.table(names::TUNABLES)?, shard, seen: None, raw: Vec::new() })
    }

    /// For all shards and for this one, when something in the table changed since the last look.
    pub(super) fn changed(&mut self, stats: &mut ReadStats) -> Option<(Tunables, Tunables)> {
        let version = self.table.version();
        // Taken before the entries are read: a write in between shows as a newer version at the next look.
        if self.seen.replace(version) == Some(version) {
            return None;
        }
        let wishes = self.read(stats);
        if wishes.is_none() {
            self.seen = None;
        }
        wishes
    }

    /// `None`: an entry is busy.
    fn read(&mut self, stats: &mut ReadStats) -> Option<(Tunables, Tunables)> {
        Some((self.entry(0, stats)?, self.entry(1 + self.shard, stats)?))
    }

    fn entry(&mut self, index: usize, stats: &mut ReadStats) -> Option<Tunables> {
        match self.table.read(index, &mut self.raw) {
            TableRead::Entry(_) => Some(contract::decode(&self.raw).unwrap_or_else(|_| {
                stats.bad_entries += 1;
                Tunables::default()
            })),
            TableRead::Empty => Some(Tunables::default()),
            TableRead::Busy => {
                stats.busy_entries += 1;
                None
            }
        }
    }
}

impl Shard {
    /// Takes over what was tuned since the last housekeeping.
    pub(super) fn tune(&mut self) {
        let Some((all, own)) = self.parts.control.wishes() else { return };
        let untuned = self.parts.untuned;
        let wanted = untuned.with(&all, &own);
        let values = TunableValues::from_fn(|tunable| match tunable.applies() {
            Applies::Live => wanted.get(tunable),
            Applies::Restart => untuned.get(tunable),
        });
        self.apply(values);
        self.parts.control.tell_tuned(&self.tuned);
    }

    fn apply(&mut self, mut values: TunableValues) {
        let batch = self.parts.backend.set_recv_batch(size(values.get(Tunable::RecvBatch)));
        values.set(Tunable::RecvBatch, batch as u64);
        self.parts.endpoint.tune(EndpointTuning {
            connections_max: size(values.get(Tunable::SessionsMax)),
            retry_half_open_min: size(values.get(Tunable::RetryHalfOpenMin)),
            visit_packets: values.get(Tunable::VisitPackets),
        });
        self.relay.tune(RelayTuning {
            sessions_max: size(values.get(Tunable::SessionsMax)),
            cache_len_max: size(values.get(Tunable::CacheBytesMax)),
            delivery_timeout: Duration::from_millis(values.get(Tunable::DeliveryTimeoutMs)),
        });
        for tunable in Tunable::ALL {
            let (before, after) = (self.tuned.get(*tunable), values.get(*tunable));
            if before != after {
                let (before, after) = (tunable.show(before), tunable.show(after));
                info!(shard = self.parts.shard, key = tunable.name(), before, after, "tuned");
            }
        }
        self.tuned = values;
    }

    /// How the host waits for work.
    pub fn waiting(&self) -> Waiting {
        let poll = match self.tuned.get(Tunable::Poll) {
            POLL_BUSY => PollMode::Busy,
            _ => PollMode::Adaptive,
        };
        let micros = |tunable| Duration::from_micros(self.tuned.get(tunable));
        Waiting { poll, spin: micros(Tunable::SpinUs), nap: micros(Tunable::NapUs) }
    }
}
