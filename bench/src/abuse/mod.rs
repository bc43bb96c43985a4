//! What outsiders and tenants can do to the others: each abuse at full rate beside viewers and an encoder, who must not notice.
//!
//! ```text
//!   encoder, viewers ([`scene`]) ---> engine <--- one [`Abuse`](target::Abuse) after the other, at full rate
//!        one core of the load          its own          the load's core, at the lowest priority
//!
//!   warm-up | quiet | abuse, settle | abuse, settle | …
//! ```
//!
//! A stretch is judged beside the quiet one ([`phase`]). The abuses come from other addresses of loopback than the viewers.

mod floods;
mod half_open_quic;
mod half_open_rtmp;
mod ledger;
mod phase;
mod pinned_memory;
mod quic;
mod rtmp;
mod scene;
mod stalling_rtmp;
mod target;
mod tokens;
mod track_table;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use streams_sdk::SessionUrl;
use tokio::time::sleep;
use url::Url;

use self::floods::{QuicFlood, TcpFlood};
use self::half_open_quic::HalfOpenQuic;
use self::half_open_rtmp::HalfOpenRtmp;
use self::phase::Stage;
use self::pinned_memory::PinnedMemory;
use self::scene::Scene;
use self::stalling_rtmp::{Input as Stalling, StallingRtmp};
use self::target::{Abuse, Target};
use self::tokens::Tokens;
use self::track_table::TrackTable;
use crate::error::BenchError;
use crate::film::{self, Film};
use crate::report::Report;
use crate::stack::{Input, Stack, on_loopback};
use crate::viewing::Broadcast;

/// How long the scene runs before it is measured: the group caches reach their age limit.
const WARM_UP: Duration = Duration::from_secs(15);
/// How long the viewers may take until all have a picture.
const WATCHING_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(100);
/// Port of an RTMP URL that names none.
const RTMP_PORT: u16 = 1935;

/// Abuses an engine in every known way beside viewers and an encoder, and tells who noticed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It starts a stack of its own, for nobody would want this done to a running one. With --shards 1 the engine has one core, and viewers, \
encoder and abuse another, where the abuse has the lowest priority.")]
pub struct AbuseArgs {
    /// Shards of the engine
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// Viewers
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    viewers: u32,
    /// Length of the quiet stretch and of each abuse
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(2..=3_600))]
    seconds: u64,
    /// How long memory may take after each abuse to be back within 5 % of RSS
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    settle_seconds: u64,
    /// Only these abuses, by their keys: half_open_quic, half_open_rtmp, track_table, pinned_memory, rtmp_empty_messages,
    /// rtmp_nested_amf0, rtmp_strict_array, rtmp_empty_tags, tokens, tcp_flood, quic_flood
    #[arg(long, value_delimiter = ',', value_name = "KEY,…")]
    only: Vec<String>,
}

fn abuses() -> Vec<Box<dyn Abuse>> {
    vec![
        Box::new(HalfOpenQuic),
        Box::new(HalfOpenRtmp),
        Box::new(TrackTable),
        Box::new(PinnedMemory),
        Box::new(StallingRtmp(Stalling::EmptyMessages)),
        Box::new(StallingRtmp(Stalling::NestedAmf0)),
        Box::new(StallingRtmp(Stalling::StrictArray)),
        Box::new(StallingRtmp(Stalling::EmptyTags)),
        Box::new(Tokens),
        Box::new(TcpFlood),
        Box::new(QuicFlood),
    ]
}

/// Runs all of them.
///
/// # Errors
/// Whatever keeps it from being measured. What anybody noticed is a failure in the report.
pub async fn run(args: &AbuseArgs) -> Result<Report, BenchError> {
    let mut abuses = abuses();
    if let Some(unknown) = args.only.iter().find(|key| !abuses.iter().any(|abuse| abuse.key() == *key)) {
        return Err(BenchError::UnknownAbuse(unknown.clone()));
    }
    abuses.retain(|abuse| args.only.is_empty() || args.only.iter().any(|key| key == abuse.key()));
    raise_descriptors()?;
    let film = Arc::new(Film::read(&film::file(None)?)?);
    let stack = Stack::start(&on_loopback(args.shards as usize, "adaptive"))?;
    let measured = measure(args, &stack, film, abuses).await;
    stack.tell_complaints(&measured);
    measured
}

async fn measure(
    args: &AbuseArgs,
    stack: &Stack,
    film: Arc<Film>,
    abuses: Vec<Box<dyn Abuse>>,
) -> Result<Report, BenchError> {
    let (input, own) = (stack.live_input("bystander")?, stack.live_input("abuser")?);
    let url = SessionUrl::playback(&stack.moqt_url(&input)?)?;
    let target = target(&url, own.clone(), SessionUrl::playback(&stack.moqt_url(&own)?)?)?;
    let broadcast = Broadcast { url, trust: stack.trust()? };
    let scene = Scene::start(broadcast, input.clone(), Arc::clone(&film), args.viewers as usize)?;
    wait_watching(&scene, args.viewers as usize).await?;
    sleep(WARM_UP).await;
    let stage = Stage {
        engine: stack.engine(),
        scene: &scene,
        film: &film,
        target: &target,
        time: Duration::from_secs(args.seconds),
        settle_max: Duration::from_secs(args.settle_seconds),
    };
    let mut report = Report::new("abuse: who notices what outsiders and tenants do");
    report.value("viewers", args.viewers);
    report.value("shards", args.shards);
    report.value("seconds", args.seconds);
    let quiet = stage.run(None, None).await?;
    // By its own measure only losses can be wrong with it.
    for fault in tell(&mut report, &quiet, quiet.judge(&quiet)) {
        report.failure(format!("quiet: {fault}"));
    }
    for abuse in abuses {
        let phase = stage.run(Some(abuse), Some(&quiet)).await?;
        for fault in tell(&mut report, &phase, phase.judge(&quiet)) {
            report.failure(format!("{}: {fault}", phase.name));
        }
    }
    Ok(report)
}

/// A row of the table; also on standard error at once, for the whole takes minutes.
fn tell(report: &mut Report, phase: &phase::Phase, faults: Vec<String>) -> Vec<String> {
    let shown = format!("{}  {}", if faults.is_empty() { "ok   " } else { "FAULT" }, phase.shown());
    eprintln!("{:<34}  {shown}", phase.name);
    report.row(phase.key, phase.json(&faults), phase.name, shown);
    faults
}

async fn wait_watching(scene: &Scene, viewers: usize) -> Result<(), BenchError> {
    let deadline = Instant::now() + WATCHING_MAX;
    while scene.watching() < viewers {
        if Instant::now() > deadline {
            return Err(BenchError::TooLong { what: "all viewers have a picture", patience: WATCHING_MAX });
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn target(url: &SessionUrl, own: Input, playback: SessionUrl) -> Result<Target, BenchError> {
    let rtmp = Url::parse(&own.rtmp).map_err(|_| BenchError::RtmpUrl(own.rtmp.clone()))?;
    let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    Ok(Target { quic: local(url.port), rtmp: local(rtmp.port().unwrap_or(RTMP_PORT)), own, playback })
}

/// Viewers and abuses have a socket each.
fn raise_descriptors() -> Result<(), BenchError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|error| BenchError::file("raise", "the limit of descriptors".as_ref())(error.into()))
}
