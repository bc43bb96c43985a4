//! One real shard inside another program, turned by that program on its own thread: for measurements and tests.
//!
//! It is the shard of a running engine in every part but three: its packets stay in memory ([`SinkWire`]), no control process
//! writes its tables, and no encoder connects; tracks are fed straight into its relay. The relay is open: any path may
//! subscribe any namespace that does not begin with `stream`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use streams_config::Config;
use streams_contract::{self as contract, ShardsSizes, names};
use streams_relay_core::relay::Relay;
use streams_rings::{Access, Workspace};

use crate::EngineError;
use crate::backend::{PacketBackend, sink};
use crate::broadcast::{GroupStore, InputContext, Inputs};
use crate::directory::Announced;
use crate::keys::EngineKeys;
use crate::quic::cid::CidScheme;
use crate::quic::{Endpoint, EndpointStats, RetryTokens, TlsFiles};
use crate::shard::{ControlSide, Links, Mailbox, RxLink, Shard, ShardParts, Tosses, untuned};
use crate::start::{endpoint_limits, relay_config};

pub use crate::backend::{SinkTrain, SinkWire};
pub use crate::shard::Turn;

/// What an embedded shard is made with.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// A folder of its own: keys and shared memory are made there, in files. It is not removed.
    pub data: PathBuf,
    /// Certificate and key.
    pub tls: TlsFiles,
    /// The address that peers send to.
    pub local: SocketAddr,
    /// Frames of the sink, one at least.
    pub frames: usize,
    /// Connections and sessions at once; as many may be in their handshake without a Retry.
    pub connections_max: usize,
}

/// A shard and the wire in memory that it hangs on.
pub struct EmbeddedShard {
    shard: Shard,
    wire: SinkWire,
}

impl EmbeddedShard {
    /// Makes the shared memory and the shard.
    ///
    /// # Errors
    /// [`EngineError`] for a folder that cannot be used and TLS files that are none.
    pub fn new(settings: &EmbeddedSettings, now: Instant) -> Result<Self, EngineError> {
        let (backend, wire) = sink(settings.local, settings.frames);
        Ok(Self { shard: Shard::new(parts(settings, Box::new(backend))?, now), wire })
    }

    /// Does what there is to do at `now`.
    pub fn turn(&mut self, now: Instant) -> Turn {
        self.shard.turn(now)
    }

    /// The wire: what arrives, and what was sent.
    pub fn wire(&mut self) -> &mut SinkWire {
        &mut self.wire
    }

    /// Runs a step on the relay: open a track, hand over an object.
    pub fn with_relay<R>(&mut self, now: Instant, step: impl FnOnce(&mut Relay) -> R) -> R {
        self.shard.tick_clock(now);
        self.shard.with_inputs(|_, context: &mut InputContext<'_>| step(context.relay))
    }

    /// What the QUIC endpoint counted.
    pub fn quic_stats(&self) -> EndpointStats {
        self.shard.quic_stats()
    }
}

/// The parts of a shard that is alone, on any backend.
pub(crate) fn parts(settings: &EmbeddedSettings, backend: Box<dyn PacketBackend>) -> Result<ShardParts, EngineError> {
    let mut config = Config::default();
    config.relay.open = true;
    config.engine.connections_max = settings.connections_max;
    config.engine.handshakes_max = settings.connections_max;
    config.engine.retry_half_open_min = settings.connections_max;
    let keys = EngineKeys::load_or_create(&settings.data)?;
    let (run_dir, sizes) = (settings.data.join("run"), ShardsSizes::default());
    let workspace = workspaces(&run_dir, sizes)?;
    let bell = Mailbox::new();
    let mailboxes: Vec<Arc<Mailbox>> = vec![bell.map_err(|source| EngineError::Socket {
        action: "make a door bell",
        address: "a shard".into(),
        source,
    })?];
    let limits = endpoint_limits(&config);
    let ids = Arc::new(CidScheme::new(&keys.cid, &keys.reset, keys.epoch)?);
    Ok(ShardParts {
        shard: 0,
        backend,
        rx: RxLink::join(&workspace, 0)?,
        tosses: Tosses::join(&workspace, 0, &mailboxes)?,
        endpoint: Endpoint::new(0, &settings.tls, ids, RetryTokens::new(&keys.retry), limits)?,
        tls: settings.tls.clone(),
        relay: relay_config(&config),
        untuned: untuned(&config, &limits, &sizes, None),
        control: ControlSide::join(&run_dir, &workspace, 0)?,
        links: Links::join(&workspace, 0, mailboxes.clone())?,
        announced: Announced::join(&workspace, 0, 1)?,
        inputs: Inputs::join(&workspace, 0, GroupStore::new(&settings.data, Vec::new()))?,
        mailboxes,
    })
}

/// Control's tables, empty, and the shard's shared memory, as files in `run_dir`.
fn workspaces(run_dir: &Path, sizes: ShardsSizes) -> Result<Workspace, EngineError> {
    contract::create_run_dir(run_dir, None)?;
    let generation = contract::next_generation(run_dir, names::CONTROL)?;
    contract::control_workspace(1).create(contract::generation_path(run_dir, names::CONTROL, generation))?;
    contract::switch_current(run_dir, names::CONTROL, generation)?;
    let path = contract::generation_path(run_dir, names::SHARDS, contract::next_generation(run_dir, names::SHARDS)?);
    contract::shards_workspace(1, sizes).create(&path)?;
    Ok(Workspace::join(&path, Access::ReadWrite)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use quiche::{ConnectionId, RecvInfo};

    use super::*;
    use crate::quic::server_config;

    pub(crate) struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn settings(name: &str) -> (EmbeddedSettings, Folder) {
        let data = std::env::temp_dir().join(format!("streams-embedded-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = TlsFiles { certificate: data.join("cert.pem"), key: data.join("key.pem") };
        std::fs::write(&tls.certificate, made.cert.pem()).unwrap();
        std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
        let local = SocketAddr::from(([192, 0, 2, 1], 4433));
        (EmbeddedSettings { data: data.clone(), tls, local, frames: 2, connections_max: 8 }, Folder(data))
    }

    #[test]
    fn a_client_shakes_hands_with_an_embedded_shard_over_memory() {
        let (settings, _folder) = settings("handshake");
        let mut shard = EmbeddedShard::new(&settings, Instant::now()).unwrap();
        let here = SocketAddr::from(([192, 0, 2, 2], 5000));
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
        config.set_application_protos(&[b"moqt-18"]).unwrap();
        config.verify_peer(false);
        config.set_initial_max_data(1 << 20);
        config.set_initial_max_stream_data_uni(1 << 20);
        config.set_initial_max_streams_uni(8);
        let mut client =
            quiche::connect(None, &ConnectionId::from_ref(&[5; 8]), here, settings.local, &mut config).unwrap();
        let (deadline, mut buffer) = (Instant::now() + Duration::from_secs(60), [0; 1500]);
        // The relay's SETUP is the first stream of an open session.
        while client.readable().next().is_none() {
            assert!(Instant::now() < deadline, "no session: {:?}", shard.quic_stats());
            while let Ok((len, _)) = client.send(&mut buffer) {
                shard.wire().push(here, &buffer[..len]);
            }
            assert_ne!(shard.turn(Instant::now()), Turn::Stopped);
            while let Some(train) = shard.wire().take() {
                assert_eq!(train.to, here);
                for packet in train.packets() {
                    let _ = client.recv(&mut packet.to_vec(), RecvInfo { from: settings.local, to: here });
                }
                shard.wire().give(train);
            }
        }
        assert!(client.is_established());
        let stats = shard.quic_stats();
        assert_eq!((stats.accepted, stats.retries, stats.junk), (1, 0, 0));
        assert!(stats.packets_out > 0);
    }

    #[test]
    fn tls_files_that_are_not_there_are_named() {
        let (mut settings, _folder) = settings("no-tls");
        settings.tls.key = settings.data.join("missing.pem");
        let problem = EmbeddedShard::new(&settings, Instant::now()).map(drop).unwrap_err().to_string();
        assert!(problem.contains("missing.pem"), "{problem}");
        assert!(server_config(&settings.tls, 30_000).is_err());
    }
}
