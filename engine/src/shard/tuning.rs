//! What an operator tunes (`streams tune`): read from control's table in housekeeping, put into the shard's parts, told back.

use std::path::Path;
use std::time::Duration;

use streams_config::{Config, Poll};
use streams_relay_core::relay::RelayTuning;
use streams_rings::schema::{self, Applies, ShardsSizes, Tunable, TunableValues, Tunables, names};
use streams_rings::{Access, RingsError, Table, Workspace};
use tracing::info;

use super::Shard;
use super::control::current_generation;
use crate::host::PollMode;
use crate::quic::{EndpointLimits, EndpointTuning};

/// Batches received in one turn before others get their share.
const RECV_ROUNDS: u64 = 4;
/// Pump and flush rounds in one turn: the first sends what is there, the others what acknowledgements made room for.
const SEND_ROUNDS: u64 = 4;
/// How long an adaptive shard goes on looking before it sleeps. Not at all: beside some hundred viewers acknowledgements come every
/// 50 to 100 µs, and looking on for them took a third of the shard's time to save a tenth of it.
const SPIN_US: u64 = 0;
/// As many datagrams a call as any backend takes; each says how many that is.
const RECV_BATCH: u64 = 64;
/// Places of the words of `poll`.
const POLL_ADAPTIVE: u64 = 0;
const POLL_BUSY: u64 = 1;

/// What a shard runs with while nothing is tuned.
pub fn untuned(config: &Config, limits: &EndpointLimits, sizes: &ShardsSizes) -> TunableValues {
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
        Tunable::RetryHalfOpenMin => limits.retry_half_open_min as u64,
        Tunable::SessionsMax => limits.connections_max as u64,
        Tunable::DeliveryTimeoutMs => config.relay.delivery_timeout_ms,
        Tunable::CacheBytesMax => config.relay.cache_shard_bytes_max as u64,
        Tunable::RxDepth => sizes.rx_depth as u64,
        Tunable::RxBytes => sizes.rx_len as u64,
        Tunable::MediaDepth => sizes.media_depth as u64,
        Tunable::MediaBytes => sizes.media_len as u64,
        Tunable::AskBytes => sizes.ask_len as u64,
    })
}

/// Sizes of each shard's links, as tuned for this start.
pub fn tuned_sizes(run_dir: &Path, shards: usize) -> Result<Vec<ShardsSizes>, RingsError> {
    let control = Workspace::join(current_generation(run_dir), Access::ReadOnly)?;
    let of = |shard| {
        let (all, own) = Wishes::join(&control, shard)?.read(&mut 0);
        let wish = |tunable, usual: usize| own.get(tunable).or_else(|| all.get(tunable)).map_or(usual, size);
        let usual = ShardsSizes::default();
        Ok(ShardsSizes {
            rx_depth: wish(Tunable::RxDepth, usual.rx_depth),
            rx_len: wish(Tunable::RxBytes, usual.rx_len),
            media_depth: wish(Tunable::MediaDepth, usual.media_depth),
            media_len: wish(Tunable::MediaBytes, usual.media_len),
            ask_len: wish(Tunable::AskBytes, usual.ask_len),
            ..usual
        })
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
    pub(super) fn changed(&mut self, bad_entries: &mut u64) -> Option<(Tunables, Tunables)> {
        let version = self.table.version();
        // Taken before the entries are read: a write in between shows as a newer version at the next look.
        let fresh = self.seen.replace(version) != Some(version);
        fresh.then(|| self.read(bad_entries))
    }

    fn read(&mut self, bad_entries: &mut u64) -> (Tunables, Tunables) {
        (self.entry(0, bad_entries), self.entry(1 + self.shard, bad_entries))
    }

    fn entry(&mut self, index: usize, bad_entries: &mut u64) -> Tunables {
        match self.table.read(index, &mut self.raw).map(|_| schema::decode(&self.raw)) {
            Some(Ok(wishes)) => wishes,
            Some(Err(_)) => {
                *bad_entries += 1;
                Tunables::default()
            }
            None => Tunables::default(),
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

    /// How the host waits for work, and how long an adaptive one looks on before it sleeps.
    pub fn waiting(&self) -> (PollMode, Duration) {
        let poll = match self.tuned.get(Tunable::Poll) {
            POLL_BUSY => PollMode::Busy,
            _ => PollMode::Adaptive,
        };
        (poll, Duration::from_micros(self.tuned.get(Tunable::SpinUs)))
    }
}
