//! Starting and stopping the engine.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streams_config::{Config, Io, Seccomp, UdpIo};
use streams_contract::{self as contract, ShardsSizes, names};
use streams_ingest::RtmpLimits;
use streams_privileges::{Account, configured_user};
use streams_relay_core::relay::RelayConfig;
use streams_rings::{Access, Workspace};
use streams_xdp_prog::{PortClass, ReuseportProgram, Steering, SteeringMode};
use tracing::{info, warn};

use crate::EngineError;
use crate::backend::{
    PacketBackend, SendRing, UdpBackend, XdpEnd, XdpSetup, XdpSetupError, XdpShardWish, XdpWish, bind_shard_socket,
    set_up,
};
use crate::broadcast::{GroupStore, Inputs};
use crate::directory::{Announced, sha256_hex};
use crate::edge::admission::PlaceLimits;
use crate::edge::http::HttpSettings;
use crate::edge::rtmp::RtmpSettings;
use crate::edge::whip::WhipSettings;
use crate::edge::{EdgeSettings, EdgeSockets};
use crate::host::{self, BoundSocket, HostSettings, ShardThread};
use crate::keys::EngineKeys;
use crate::ports::{Reservation, reserve_tcp, reserve_udp, shard_listener};
use crate::quic::cid::CidScheme;
use crate::quic::{Endpoint, EndpointLimits, RetryTokens, TlsFiles};
use crate::shard::{
    ControlSide, Links, Mailbox, RxLink, ShardParts, StartWish, Tosses, check_shards, start_wishes, untuned,
    wait_for_control,
};

/// Control fills its tables from the database before it says so; a laptop under load may need a few seconds.
const CONTROL_PATIENCE: Duration = Duration::from_secs(30);

/// A box with a door bell for each shard.
fn mailboxes(shards: usize) -> Result<Vec<Arc<Mailbox>>, EngineError> {
    let made: Result<_, _> = (0..shards).map(|_| Mailbox::new()).collect();
    made.map_err(|source| EngineError::Socket { action: "make a door bell", address: "a shard".into(), source })
}

/// All sockets are bound in shard order before the first packet is read: the kernel spreads flows over the sockets that are there,
/// and a flow that moved would reach a shard that does not know it.
fn shard_sockets(quic: SocketAddr, shards: usize) -> Result<Vec<socket2::Socket>, EngineError> {
    let bound: Result<_, _> = (0..shards).map(|_| bind_shard_socket(quic)).collect();
    bound.map_err(|source| EngineError::Socket { action: "bind", address: quic.to_string(), source })
}

/// Other handles of what packets come by, for the host to sleep on.
fn wake_descriptors(socket: &socket2::Socket, end: Option<&XdpEnd>) -> std::io::Result<Vec<OwnedFd>> {
    let mut packets = vec![socket.try_clone()?.into()];
    packets.extend(end.map(XdpEnd::wake_fd).transpose()?);
    Ok(packets)
}

/// What an engine is started with: the configuration and where its data lives.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The data directory.
    pub data: PathBuf,
    /// `streams.toml` with flags applied.
    pub config: Config,
}

/// A running engine.
pub struct Engine {
    threads: Vec<ShardThread>,
    stopper: Stopper,
    _ports: Vec<Reservation>,
    _reuseport: Option<ReuseportProgram>,
}

/// Ends an engine from any thread.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    mailboxes: Vec<Arc<Mailbox>>,
}

/// Makes the workspace, reserves the ports, gives up every right of this process, has one thread a shard make what it runs on,
/// limits system calls and lets the shards run. The process must have no other thread yet: rights are those of a thread.
pub fn start(settings: &EngineSettings) -> Result<Engine, EngineError> {
    let config = &settings.config;
    let shards = config.shards();
    check_shards(shards)?;
    // Told before anything is waited for. Each shard asks again, as the user that this process becomes.
    host::allow_rings(shards).map_err(|problem| EngineError::Executor { shard: 0, problem })?;
    let account = Account::choose(&config.engine.user, &settings.data)?;
    let at = |port| SocketAddr::new(config.server.host, port);
    let (quic, rtmp, edge) = (at(config.ports.quic), at(config.ports.rtmp), at(config.edge_port()));
    let webrtc = webrtc_addresses(config, shards);
    let ports = reserve_ports(quic, rtmp, edge, &webrtc)?;
    let keys = EngineKeys::load_or_create(&settings.data)?;
    let run_dir = run_dir(&settings.data)?;
    contract::create_run_dir(&run_dir, configured_user(&config.engine.user)?)?;
    wait_for_control(&run_dir, CONTROL_PATIENCE)?;
    let wishes = start_wishes(config, &run_dir, shards)?;
    let (workspace, sizes) = make_workspace(&run_dir, &wishes)?;
    let mailboxes = mailboxes(shards)?;
    let stop = Arc::new(AtomicBool::new(false));
    let sockets = shard_sockets(quic, shards)?;
    let ids = Arc::new(CidScheme::new(&keys.cid, &keys.reset, keys.epoch)?);
    let steering = steering(quic, shards, &ids)?;
    let reuseport = steer_sockets(&sockets, &steering);
    let wished: Vec<XdpShardWish> = wishes.iter().map(|wish| wish.xdp).collect();
    let mut ends = xdp_ends(config, quic, &steering, wished)?.into_iter();
    // AF_XDP leaves little to the kernel's sockets: that goes out by plain calls.
    let mut rings = if ends.len() == 0 { send_rings(config.engine.udp_io, shards)? } else { Vec::new() }.into_iter();
    let edges = webrtc.iter().map(|webrtc| edge_sockets(rtmp, edge, *webrtc)).collect::<Result<Vec<_>, _>>()?;
    let mut saved_before = GroupStore::saved(&settings.data);
    give_up_rights(&account, config.engine.seccomp, &settings.data, &run_dir)?;
    let mut threads = Vec::with_capacity(shards);
    for (shard, ((socket, sockets), sizes)) in sockets.into_iter().zip(edges).zip(sizes).enumerate() {
        let end = ends.next();
        let packets = wake_descriptors(&socket, end.as_ref()).map_err(|source| EngineError::Socket {
            action: "share the socket",
            address: quic.to_string(),
            source,
        })?;
        let host = HostSettings {
            edge: edge_settings(config),
            sockets,
            packets,
            mailbox: mailboxes
                .get(shard)
                .cloned()
                .ok_or_else(|| EngineError::Setting("a shard has no mailbox".into()))?,
            stop: stop.clone(),
        };
        let maker = PartsMaker {
            shard,
            socket,
            ring: rings.next(),
            end,
            workspace: workspace.clone(),
            run_dir: run_dir.clone(),
            data: settings.data.clone(),
            // One of them removes what is left over.
            saved_before: std::mem::take(&mut saved_before),
            ids: ids.clone(),
            keys: keys.clone(),
            config: config.clone(),
            sizes,
            mailboxes: mailboxes.clone(),
        };
        threads.push(host::spawn(shard, host, move || maker.make())?);
    }
    confine_and_run(&threads, config.engine.seccomp)?;
    info!(shards, %quic, %rtmp, %edge, "engine runs");
    Ok(Engine { threads, stopper: Stopper { stop, mailboxes }, _ports: ports, _reuseport: reuseport })
}

impl Stopper {
    /// Asks every shard to end its broadcasts and sessions; [`Engine::join`] returns when they have.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
    }
}

impl Engine {
    /// A handle that can stop this engine.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until every shard has ended.
    pub fn join(self) -> Result<(), EngineError> {
        self.threads.into_iter().try_for_each(ShardThread::join)
    }
}

/// The folder of the workspaces that belong to a data directory.
pub fn run_dir(data: &Path) -> Result<PathBuf, EngineError> {
    use std::os::unix::ffi::OsStrExt;
    let canonical = data.canonicalize().map_err(|source| EngineError::file("find", data, source))?;
    Ok(contract::run_dir(&sha256_hex(canonical.as_os_str().as_bytes())))
}

/// Waits until every shard has made its rings, sockets and shared memory, which it does without rights, and then limits all of
/// them to the system calls that they need from there on. Not one packet or connection was looked at before.
fn confine_and_run(shards: &[ShardThread], seccomp: Seccomp) -> Result<(), EngineError> {
    shards.iter().try_for_each(ShardThread::made)?;
    streams_privileges::seccomp::confine(seccomp)?;
    shards.iter().for_each(ShardThread::go);
    Ok(())
}

/// From here on a defect that an outsider finds gets no further than the process.
fn give_up_rights(account: &Account, seccomp: Seccomp, data: &Path, run_dir: &Path) -> Result<(), EngineError> {
    account.share(data, run_dir)?;
    account.enter()?;
    let tls = tls_files(data);
    account.check_readable(&tls.certificate)?;
    account.check_readable(&tls.key)?;
    match account.stay() {
        Some(why) => info!(seccomp = %seccomp, "the engine goes on as root without capabilities: {why}"),
        None => info!(user = account.name(), seccomp = %seccomp, "the engine has given up its rights"),
    }
    Ok(())
}

fn tls_files(data: &Path) -> TlsFiles {
    TlsFiles { certificate: data.join("tls").join("cert.pem"), key: data.join("tls").join("key.pem") }
}

fn make_backend(
    socket: socket2::Socket,
    ring: Option<SendRing>,
    end: Option<XdpEnd>,
) -> std::io::Result<Box<dyn PacketBackend>> {
    let kernel = UdpBackend::new(socket, ring)?;
    Ok(match end {
        Some(end) => Box::new(end.into_backend(kernel)?),
        None => Box::new(kernel),
    })
}

/// One ring a shard, or none where packets leave by `sendmsg`. Which of both is said, and why.
fn send_rings(wish: UdpIo, shards: usize) -> Result<Vec<SendRing>, EngineError> {
    if wish == UdpIo::Plain {
        info!("kernel sockets send by sendmsg: `[engine] udp_io` says so");
        return Ok(Vec::new());
    }
    match (0..shards).map(|_| SendRing::open()).collect::<Result<Vec<_>, _>>() {
        Ok(rings) => {
            info!("kernel sockets send by io_uring");
            Ok(rings)
        }
        Err(refused) if wish == UdpIo::Auto => {
            info!("kernel sockets send by sendmsg: {refused}");
            Ok(Vec::new())
        }
        Err(refused) => Err(refused.into()),
    }
}

/// The rule by which packets find their shard, for the programs in the kernel.
fn steering(quic: SocketAddr, shards: usize, ids: &CidScheme) -> Result<Steering, EngineError> {
    let any = quic.ip().is_unspecified();
    Ok(Steering {
        mode: SteeringMode::PerQueue,
        shards: u8::try_from(shards).map_err(|_| EngineError::Setting("more than 255 shards".into()))?,
        cid_epoch: ids.epoch(),
        cid_mask_key: ids.mask_key(),
        ports: vec![(quic.port(), PortClass::Quic)],
        addresses: if any { Vec::new() } else { vec![quic.ip()] },
    })
}

/// Datagrams of a viewer whose address changed reach its shard's kernel socket at once. Without the rights for it they come to
/// another shard's, which tosses them.
fn steer_sockets(sockets: &[socket2::Socket], steering: &Steering) -> Option<ReuseportProgram> {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    ReuseportProgram::attach(&sockets, steering)
        .inspect_err(|error| info!(%error, "kernel sockets get datagrams by address alone"))
        .ok()
}

/// One AF_XDP end a shard, or none for kernel sockets alone. `auto` falls back to those and says why.
fn xdp_ends(
    config: &Config,
    address: SocketAddr,
    steering: &Steering,
    shards: Vec<XdpShardWish>,
) -> Result<Vec<XdpEnd>, EngineError> {
    let interface = match &config.engine.io {
        Io::Udp => return Ok(Vec::new()),
        Io::Auto => None,
        Io::Xdp(interface) => Some(interface.clone()),
    };
    let mut wish = XdpWish { interface, address, steering: steering.clone(), shards };
    let untuned = vec![StartWish::untuned(config).xdp; wish.shards.len()];
    let mut setup = set_up(&wish);
    if let Err(error @ XdpSetupError::Bind { .. }) = &setup
        && wish.shards != untuned
    {
        // Without an engine nobody could tune them back.
        warn!(%error, "the tuned sizes of AF_XDP rings cannot be had; the engine tries the configured ones");
        wish.shards = untuned;
        setup = set_up(&wish);
    }
    match setup {
        Ok(XdpSetup { ends, summary }) => {
            info!("{summary}");
            Ok(ends)
        }
        Err(error) if wish.interface.is_none() => {
            info!("kernel sockets carry all packets: {error}");
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn make_workspace(run_dir: &Path, wishes: &[StartWish]) -> Result<(Workspace, Vec<ShardsSizes>), EngineError> {
    let shards = wishes.len();
    let generation = contract::next_generation(run_dir, names::SHARDS)?;
    let path = contract::generation_path(run_dir, names::SHARDS, generation);
    let create = |sizes: &[ShardsSizes]| {
        contract::shards_workspace_of(sizes).build_id(env!("CARGO_PKG_VERSION")).create(&path).map(drop)
    };
    let usual = vec![ShardsSizes::default(); shards];
    let mut sizes: Vec<ShardsSizes> = wishes.iter().map(|wish| wish.links).collect();
    if let Err(error) = create(&sizes) {
        // Without an engine nobody could tune them back.
        if sizes == usual {
            return Err(error.into());
        }
        warn!(%error, "the tuned sizes of links cannot be had; the engine starts with the usual ones");
        sizes = usual;
        create(&sizes)?;
    }
    let workspace = Workspace::join(&path, Access::ReadWrite)?;
    for shard in 0..shards {
        let cnc = workspace.cnc(&names::shard(shard))?;
        cnc.set_pid(std::process::id());
        cnc.heartbeat(streams_rings::now_ns());
    }
    contract::switch_current(run_dir, names::SHARDS, generation)?;
    Ok((workspace, sizes))
}

/// Nobody else gets the ports of this engine while it lives.
fn reserve_ports(
    quic: SocketAddr,
    rtmp: SocketAddr,
    edge: SocketAddr,
    webrtc: &[SocketAddr],
) -> Result<Vec<Reservation>, EngineError> {
    let mut ports = vec![reserve_udp(quic, "quic")?, reserve_tcp(rtmp, "rtmp")?, reserve_tcp(edge, "edge")?];
    for address in webrtc {
        ports.push(reserve_udp(*address, "webrtc")?);
    }
    Ok(ports)
}

/// One UDP port a shard, in a row.
fn webrtc_addresses(config: &Config, shards: usize) -> Vec<SocketAddr> {
    let ports = (config.ports.webrtc..).take(shards);
    ports.map(|port| SocketAddr::new(config.server.host, port)).collect()
}

/// What the edge of one shard listens on.
fn edge_sockets(rtmp: SocketAddr, edge: SocketAddr, webrtc: SocketAddr) -> Result<EdgeSockets, EngineError> {
    let bound = bind_shard_socket(webrtc).and_then(|socket| BoundSocket::new(socket.into()));
    Ok(EdgeSockets {
        rtmp: shard_listener(rtmp, "listen for RTMP")?,
        http: shard_listener(edge, "listen for HTTPS")?,
        webrtc: bound.map_err(|source| EngineError::Socket {
            action: "bind for WebRTC",
            address: webrtc.to_string(),
            source,
        })?,
    })
}

fn edge_settings(config: &Config) -> EdgeSettings {
    let rtmp = rtmp_settings(config);
    let servers = config.edge.ice_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    EdgeSettings {
        http: HttpSettings {
            places: PlaceLimits {
                unpublished_max: config.edge.connections_max,
                unpublished_address_max: config.edge.connections_address_max,
                publishing_max: 0,
            },
            request_timeout: Duration::from_millis(config.edge.request_timeout_ms),
            idle_timeout: Duration::from_millis(config.edge.idle_timeout_ms),
        },
        whip: WhipSettings {
            places: rtmp.places,
            connect_timeout: rtmp.handshake_timeout,
            idle_timeout: rtmp.idle_timeout,
            public_address: config.public_address(),
            ice_servers: servers.map(str::to_owned).collect(),
        },
        rtmp,
    }
}

fn rtmp_settings(config: &Config) -> RtmpSettings {
    RtmpSettings {
        handshake_timeout: Duration::from_millis(config.ingest.handshake_timeout_ms),
        idle_timeout: Duration::from_millis(config.ingest.idle_timeout_ms),
        places: PlaceLimits {
            unpublished_max: config.ingest.unpublished_max,
            unpublished_address_max: config.ingest.unpublished_address_max,
            publishing_max: config.ingest.connections_max,
        },
        limits: RtmpLimits { in_progress_len_max: config.ingest.message_bytes_max, ..RtmpLimits::default() },
    }
}

/// Makes a shard's parts on the shard's own thread.
struct PartsMaker {
    shard: usize,
    socket: socket2::Socket,
    ring: Option<SendRing>,
    end: Option<XdpEnd>,
    workspace: Workspace,
    run_dir: PathBuf,
    data: PathBuf,
    saved_before: Vec<String>,
    ids: Arc<CidScheme>,
    keys: EngineKeys,
    config: Config,
    sizes: ShardsSizes,
    mailboxes: Vec<Arc<Mailbox>>,
}

impl PartsMaker {
    fn make(self) -> Result<ShardParts, EngineError> {
        let Self { shard, socket, ring, end, .. } = self;
        let Self { workspace, run_dir, data, saved_before, ids, keys, config, sizes, mailboxes, .. } = self;
        let xdp = end.as_ref().map(XdpEnd::has);
        let backend = make_backend(socket, ring, end).map_err(|source| EngineError::Socket {
            action: "set up the socket",
            address: format!("shard {shard}"),
            source,
        })?;
        let tls = tls_files(&data);
        let limits = endpoint_limits(&config);
        let shard_byte = u8::try_from(shard).map_err(|_| EngineError::Setting("more than 255 shards".into()))?;
        let mut control = ControlSide::join(&run_dir, &workspace, shard)?;
        control.skip_old_commands();
        Ok(ShardParts {
            shard,
            backend,
            rx: RxLink::join(&workspace, shard)?,
            tosses: Tosses::join(&workspace, shard, &mailboxes)?,
            endpoint: Endpoint::new(shard_byte, &tls, ids, RetryTokens::new(&keys.retry), limits)?,
            tls,
            relay: relay_config(&config),
            untuned: untuned(&config, &limits, &sizes, xdp.as_ref()),
            control,
            links: Links::join(&workspace, shard, mailboxes.clone())?,
            announced: Announced::join(&workspace, shard, mailboxes.len())?,
            inputs: Inputs::join(&workspace, shard, GroupStore::new(&data, saved_before))?,
            mailboxes,
        })
    }
}

pub(crate) fn endpoint_limits(config: &Config) -> EndpointLimits {
    EndpointLimits {
        connections_max: config.engine.connections_max,
        half_open_max: config.engine.handshakes_max,
        retry_half_open_min: config.engine.retry_half_open_min,
        idle_timeout_ms: config.engine.idle_timeout_ms,
        setup_timeout: Duration::from_millis(config.relay.request_timeout_ms),
        ..EndpointLimits::default()
    }
}

pub(crate) fn relay_config(config: &Config) -> RelayConfig {
    RelayConfig {
        open: config.relay.open,
        sessions_max: config.engine.connections_max,
        requests_max: config.relay.session_requests_max,
        tracks_max: config.relay.tracks_max,
        cache_track_len_max: config.relay.cache_track_bytes_max,
        cache_len_max: config.relay.cache_shard_bytes_max,
        cache_age_max: Duration::from_millis(config.relay.cache_track_ms_max),
        delivery_timeout: Duration::from_millis(config.relay.delivery_timeout_ms),
        first_request_timeout: Duration::from_millis(config.relay.request_timeout_ms),
        ..RelayConfig::default()
    }
}
