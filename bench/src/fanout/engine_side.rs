//! The measured engine: one shard on this thread, its packets in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use streams_engine::embedded::{EmbeddedSettings, EmbeddedShard, Turn};
use streams_engine::quic::TlsFiles;
use streams_engine::stages::{self, Stage};
use streams_relay_core::relay::{FullTrackName, Namespace, TrackConfig, TrackId};

use super::check::Object;
use super::crowd::Crowd;
use super::joining::{Joining, Watch, address, client_config};
use super::meter::Tally;
use super::receiver::{Depth, Established};
use super::sink::{FRAMES, JOIN_MAX, Side, server};
use crate::error::BenchError;

/// How long one object may take to reach everybody. Loss detection, if it ever has to help, takes a fraction of it.
const OBJECT_MAX: Duration = Duration::from_secs(20);

/// One shard and its viewers.
pub struct EngineSide {
    shard: EmbeddedShard,
    track: TrackId,
    crowd: Crowd,
    viewers: u64,
    /// Objects that viewers' transports took.
    delivered: u64,
    /// Time by stage, when it is to be told apart.
    split: Option<[Duration; Stage::COUNT]>,
}

impl EngineSide {
    /// Starts the shard in `folder` and lets the viewers join. Besides the track that they watch it has `idle_tracks` others
    /// without objects and viewers.
    ///
    /// # Errors
    /// Whatever keeps the shard from starting or a viewer from joining.
    pub fn new(
        folder: &Path,
        tls: &TlsFiles,
        viewers: usize,
        idle_tracks: u32,
        depth: Depth,
    ) -> Result<Self, BenchError> {
        let settings = EmbeddedSettings {
            data: folder.to_owned(),
            tls: tls.clone(),
            local: server(),
            frames: FRAMES,
            connections_max: viewers,
        };
        let mut shard = EmbeddedShard::new(&settings, Instant::now())?;
        let name = FullTrackName {
            namespace: Namespace(vec![bytes::Bytes::from_static(b"bench")]),
            name: bytes::Bytes::from_static(b"video"),
        };
        let track = shard.with_relay(Instant::now(), |relay| {
            let now = Instant::now();
            let config = TrackConfig { publisher_priority: 128, pinned: false };
            relay.namespace_up(now, name.namespace.clone());
            for index in 0..idle_tracks {
                let name = FullTrackName { name: format!("idle-{index}").into(), namespace: name.namespace.clone() };
                relay.track_open(now, name, config);
            }
            relay.track_open(now, name.clone(), config)
        });
        let mut config = client_config()?;
        let watch = Watch { path: "/bench".into(), authority: String::new(), track: name };
        let joined = (0..viewers).map(|index| join(&mut shard, index, &mut config, &watch));
        let crowd = Crowd::new(joined.collect::<Result<_, _>>()?, depth);
        Ok(Self { shard, track, crowd, viewers: viewers as u64, delivered: 0, split: None })
    }

    /// From now on the stages are told apart, which costs clock reads; gives what they took so far.
    pub fn split_stages(&mut self) -> [Duration; Stage::COUNT] {
        self.split.replace([Duration::ZERO; Stage::COUNT]).unwrap_or_default()
    }

    fn turn(&mut self, tally: &mut Tally) -> Turn {
        let Self { shard, split, .. } = self;
        tally.measure(|| match split {
            Some(spent) => stages::split(spent, || shard.turn(Instant::now())),
            None => shard.turn(Instant::now()),
        })
    }

    /// The viewers take what was sent and answer. False when nothing was sent.
    fn answer(&mut self) -> Result<bool, BenchError> {
        let Self { shard, crowd, .. } = self;
        let mut any = false;
        while let Some(train) = shard.wire().take() {
            any = true;
            crowd.take(train.to, train.packets())?;
            shard.wire().give(train);
        }
        crowd.acknowledge(|from, packet| shard.wire().push(from, packet));
        Ok(any)
    }
}

impl Side for EngineSide {
    fn object(&mut self, object: &Object, tally: &mut Tally) -> Result<(), BenchError> {
        let Object { group, id, payload, ends_group } = object.clone();
        let (before, deadline) = (self.shard.quic_stats(), Instant::now() + OBJECT_MAX);
        self.crowd.check.publish(object);
        let (shard, track) = (&mut self.shard, self.track);
        tally.measure(|| {
            shard.with_relay(Instant::now(), |relay| {
                relay.object(Instant::now(), track, group, id, payload, ends_group);
            });
        });
        loop {
            let turn = self.turn(tally);
            let sent = self.answer()?;
            let delivered = self.shard.with_relay(Instant::now(), |relay| relay.counters().objects_out);
            let through = delivered - self.delivered == self.viewers;
            match turn {
                Turn::Stopped => return Err(BenchError::Protocol("the shard stopped")),
                Turn::Idle(_) if !sent && through => break,
                _ if Instant::now() > deadline => {
                    return Err(BenchError::TooLong { what: "an object reaches every viewer", patience: OBJECT_MAX });
                }
                _ => {}
            }
        }
        self.delivered += self.viewers;
        let after = self.shard.quic_stats();
        tally.packets += after.packets_out - before.packets_out;
        tally.bytes += after.bytes_out - before.bytes_out;
        tally.objects += self.viewers;
        self.crowd.check.settle();
        Ok(())
    }

    fn crowd(&self) -> &Crowd {
        &self.crowd
    }
}

/// Handshake, SETUP and SUBSCRIBE of one viewer, until nobody has anything to say.
fn join(
    shard: &mut EmbeddedShard,
    index: usize,
    config: &mut quiche::Config,
    watch: &Watch,
) -> Result<Established, BenchError> {
    let mut viewer = Joining::new(index, address(index), server(), config, Some(watch))?;
    let deadline = Instant::now() + JOIN_MAX;
    let mut buffer = Vec::new();
    loop {
        let mut quiet = true;
        let from = viewer.address();
        viewer.send(|packet| {
            quiet = false;
            shard.wire().push(from, packet);
        });
        let turn = shard.turn(Instant::now());
        while let Some(train) = shard.wire().take() {
            // An older viewer may be told of ids or windows meanwhile; nothing of that is needed by its receiver.
            if train.to == viewer.address() {
                quiet = false;
                for packet in train.packets() {
                    buffer.clear();
                    buffer.extend_from_slice(packet);
                    viewer.take(&mut buffer)?;
                }
            }
            shard.wire().give(train);
        }
        if quiet && viewer.is_done() && matches!(turn, Turn::Idle(_)) {
            return viewer.establish();
        }
        if Instant::now() > deadline {
            return Err(BenchError::TooLong { what: "a viewer's subscription is accepted", patience: JOIN_MAX });
        }
    }
}
