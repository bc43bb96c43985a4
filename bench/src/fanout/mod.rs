//! One broadcast to many viewers: what a packet costs the engine, and how many viewers a core carries.
//!
//! - [`sink`]: one shard inside this process, packets in memory, beside quiche alone. Stages are told apart there.
//! - [`wire`]: the engine as its own process, over kernel sockets or AF_XDP, with viewers on sockets of their own.
//!
//! Viewers are the same in both: real handshakes and subscriptions by a QUIC library ([`joining`]), then keys alone
//! ([`receiver`]), so that the load is not what is measured.

mod check;
mod crowd;
mod engine_side;
mod floor;
pub mod frames;
pub mod joining;
mod keys;
mod meter;
pub mod peer;
mod ranges;
pub mod receiver;
mod sink;
mod steps;
mod wire;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::error::BenchError;
use crate::report::Report;

/// Length of a group.
const GROUP_SECONDS: u32 = 2;

/// Hands one broadcast to many viewers; measures what a packet costs the engine
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
sink: one shard in this process, packets in memory, beside quiche alone on the same thread; user space only, split by stage.
udp, xdp:pop0: an engine process with one shard on one core, publisher and viewers on another, over loopback or with --testbed over \
a veth pair. The engine's kernel time holds the way of each packet up to the viewer's socket, for on loopback and veth the sender \
walks it. Over a veth AF_XDP copies each packet into an skb. The run fails when the load was more than 90 % busy, the \
engine waited more than 5 % of the time for its core, or the hypervisor took more than 5 % of the machine.")]
pub struct FanoutArgs {
    /// Viewers; several numbers, as in 100,200,400, are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000", value_name = "N,…", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    viewers: Vec<u32>,
    /// Bits a second of the one track
    #[arg(long, default_value_t = 5_000_000, value_name = "BPS", value_parser = clap::value_parser!(u64).range(8_000..=100_000_000))]
    bitrate: u64,
    /// Objects a second
    #[arg(long, default_value_t = 30, value_name = "F", value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// How packets leave: sink (memory), udp (kernel sockets), or xdp:INTERFACE (AF_XDP; with --testbed, xdp:pop0)
    #[arg(long, default_value = "sink", value_name = "BACKEND")]
    io: Io,
    /// udp: how the engine's kernel sockets send; several ways, as in io_uring,plain, are measured in turn, so that what else
    /// the machine does meets them all
    #[arg(long, value_delimiter = ',', default_value = "auto", value_name = "WAY,…", value_parser = ["auto", "io_uring", "plain"])]
    udp_io: Vec<String>,
    /// udp, xdp: how often everything is measured
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Engine and viewers in two network namespaces with a veth pair between them, by scripts/testbed; needs root. Without it udp
    /// goes over loopback
    #[arg(long)]
    testbed: bool,
    /// Seconds that are measured; sink: of the broadcast, in whole groups of 2 s
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(2..=3_600))]
    seconds: u32,
    /// What viewers decrypt: one packet in 64 and all packets of 64 viewers (sink: of one), or all (a run that validates the
    /// others)
    #[arg(long, default_value = "sample", value_parser = ["sample", "full"])]
    verify: String,
    /// sink: further tracks that nobody publishes to or watches
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=16_000))]
    idle_tracks: u32,
    /// udp, xdp: age at which the engine drops a group that a viewer was too slow for
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    delivery_timeout_ms: u64,
    /// udp, xdp: viewers are sustained when no object is missing and the 99th percentile of delivery is at most this
    #[arg(long, default_value_t = 100, value_name = "MS")]
    p99_max_ms: u64,
    #[arg(skip)]
    stop: Stop,
}

/// Whether the measurement is to end early.
#[derive(Debug, Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Looked at often, so that what was started is ended soon.
    fn check(&self) -> Result<(), BenchError> {
        if self.0.load(Ordering::Relaxed) { Err(BenchError::Interrupted) } else { Ok(()) }
    }
}

/// The measuring thread. When this is dropped the thread ends early, with all that it has started.
struct Measuring {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        // A panic was told when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How packets leave the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Io {
    /// Into memory.
    Sink,
    /// By kernel sockets.
    Udp,
    /// By AF_XDP on this interface.
    Xdp(String),
}

impl FromStr for Io {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("xdp:")) {
            ("sink", _) => Ok(Self::Sink),
            ("udp", _) => Ok(Self::Udp),
            (_, Some(interface)) if !interface.is_empty() => Ok(Self::Xdp(interface.to_owned())),
            _ => Err("expected sink, udp or xdp:INTERFACE"),
        }
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sink => f.write_str("sink"),
            Self::Udp => f.write_str("udp"),
            Self::Xdp(interface) => write!(f, "xdp:{interface}"),
        }
    }
}

impl FanoutArgs {
    /// Bytes of an object.
    fn object_len(&self) -> usize {
        usize::try_from(self.bitrate / 8 / u64::from(self.fps)).unwrap_or(usize::MAX)
    }

    fn check(&self) -> Result<(), BenchError> {
        match &self.io {
            Io::Sink if self.testbed => Err(BenchError::Usage("--testbed: with --io sink no packet leaves memory")),
            Io::Sink if self.rounds > 1 => Err(BenchError::Usage("--rounds: --io sink alternates by itself")),
            Io::Sink | Io::Xdp(_) if self.udp_io != ["auto"] => {
                Err(BenchError::Usage("--udp-io is about kernel sockets: take --io udp"))
            }
            Io::Udp | Io::Xdp(_) if self.idle_tracks > 0 => {
                Err(BenchError::Usage("--idle-tracks is measured with --io sink alone"))
            }
            Io::Xdp(_) if !self.testbed => Err(BenchError::Usage(
                "--io xdp: viewers have to be on the other side of an interface; add --testbed (its interface is pop0)",
            )),
            _ => Ok(()),
        }
    }
}

/// Runs the measurement on a thread of its own, so that its processor time, cores and network namespace are nobody else's.
///
/// # Errors
/// Whatever keeps it from being made. What viewers did not get is a failure in the report.
pub async fn run(args: &FanoutArgs) -> Result<Report, BenchError> {
    args.check()?;
    let args = args.clone();
    let (done, measured) = tokio::sync::oneshot::channel();
    let stop = args.stop.clone();
    let spawned = std::thread::Builder::new().name("fanout".into()).spawn(move || {
        // Nobody listens any more after an interrupt.
        let _ = done.send(measure(&args));
    });
    let thread = spawned.map_err(BenchError::file("start", "the measuring thread".as_ref()))?;
    let _measuring = Measuring { stop, thread: Some(thread) };
    measured.await.map_err(|_| BenchError::Died("measuring thread"))?
}

fn measure(args: &FanoutArgs) -> Result<Report, BenchError> {
    if args.io == Io::Sink {
        return steps::measure(args, |step| sink::measure(args, step.viewers));
    }
    let place = wire::Place::find(args.testbed)?;
    steps::measure(args, |step| wire::measure(args, step, &place))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FanoutArgs {
        /// As the command line has them when nothing is said.
        pub(super) fn defaults() -> Self {
            #[derive(clap::Parser)]
            struct Line {
                #[command(flatten)]
                args: FanoutArgs,
            }
            <Line as clap::Parser>::parse_from(["fanout"]).args
        }
    }

    #[test]
    fn backends_are_read_as_they_are_written() {
        for text in ["sink", "udp", "xdp:pop0"] {
            assert_eq!(text.parse::<Io>().unwrap().to_string(), text);
        }
        for bad in ["", "xdp:", "xdp", "tcp"] {
            assert!(bad.parse::<Io>().is_err(), "{bad}");
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        let with = |io: &str, testbed, idle_tracks| {
            FanoutArgs { io: io.parse().unwrap(), testbed, idle_tracks, ..FanoutArgs::defaults() }.check()
        };
        assert!(with("sink", false, 10).is_ok());
        assert!(with("udp", false, 0).is_ok());
        assert!(with("xdp:pop0", true, 0).is_ok());
        let by = |io: &str, udp_io: &str, rounds| {
            let udp_io = udp_io.split(',').map(str::to_owned).collect();
            FanoutArgs { io: io.parse().unwrap(), testbed: io.contains(':'), udp_io, rounds, ..FanoutArgs::defaults() }
                .check()
        };
        assert!(by("udp", "io_uring,plain", 3).is_ok());
        assert!(by("xdp:pop0", "auto", 3).is_ok());
        for bad in [by("sink", "plain", 1), by("xdp:pop0", "plain", 1), by("sink", "auto", 2)] {
            assert!(matches!(bad, Err(BenchError::Usage(_))), "{bad:?}");
        }
        for bad in [with("sink", true, 0), with("xdp:pop0", false, 0), with("udp", false, 10)] {
            assert!(matches!(bad, Err(BenchError::Usage(_))), "{bad:?}");
        }
    }
}
