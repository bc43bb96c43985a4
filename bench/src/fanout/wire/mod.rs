//! The same fan-out over a real wire: the engine as its own process, viewers on kernel UDP sockets.
//!
//! ```text
//!   core A   engine, one shard  -- udp, or xdp on pop0 --,          testbed: namespace pop | namespace net
//!   core B   publisher -- MoQT on QUIC --> (engine)      '--> N viewers, a socket each
//!                '------------------ one thread, one clock ---------------'
//!
//!   a step:  start engine | join | settle | window | drain
//! ```
//!
//! The publisher keeps to the clock, whatever becomes of the objects; the time of an object runs from there to its last byte at a
//! viewer. Viewers shake hands by a QUIC library and go on with keys alone: they read packet numbers, acknowledge once a read, and
//! decrypt one packet in 64. Sixty-four of them or more, evenly spread, are decrypted whole: of these every object is counted,
//! timed and compared with what was published. `--verify full` does so with all.
//!
//! **What the engine's cost is.** The processor time of its process, and of the kernel's network thread of its core where that can
//! be seen. On loopback and on a veth the way of a packet up to the viewer's socket is walked by the sender: the engine's kernel
//! time holds the receivers' network stack, which a real network card would leave to another machine. With AF_XDP in copy mode, the
//! only one that a veth has, it holds an skb a packet besides. Only reading from the sockets is the load's. So `udp` and `xdp` are
//! compared on the same veth, and user and kernel time apart.

mod audience;
mod broadcast;
mod load;
mod pace;
mod publishing;
mod sockets;
mod tally;
mod tracked;
mod usage;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use streams_contract::Counter;
use streams_harness::{HarnessError, Testbed};
use streams_sdk::SessionUrl;

use self::load::{Load, Target};
use self::publishing::Shape;
use self::usage::{Usage, Used};
use super::receiver::Depth;
use super::{FanoutArgs, GROUP_SECONDS, Io, steps};
use crate::cores::{Pair, pin};
use crate::error::BenchError;
use crate::process::{machine_cores, softirq_thread};
use crate::report::Report;
use crate::stack::{Stack, on_loopback};

/// From the first object to the window: congestion windows open, and an overloaded engine has begun to drop groups.
const SETTLE: Duration = Duration::from_secs(3);
/// How long after a group's delivery timeout the last of it may come.
const DRAIN: Duration = Duration::from_secs(1);
/// Share of its core above which the load is what is measured, percent.
const LOAD_PERCENT_MAX: f64 = 90.0;
/// Share of the time that the engine may wait for its core while something else has it, percent.
const WAITED_PERCENT_MAX: f64 = 5.0;
/// Share of the machine that the hypervisor may take, percent.
const STEAL_PERCENT_MAX: f64 = 5.0;
/// Open files besides a socket a viewer.
const FILES_BESIDES: u64 = 256;

/// Where the engine and its load run; the same for all steps.
pub struct Place {
    cores: Pair,
    machine_cores: usize,
    testbed: Option<Testbed>,
}

impl Place {
    /// Loopback, or a testbed that is made now.
    ///
    /// # Errors
    /// There is no testbed to be had.
    pub fn find(testbed: bool) -> Result<Self, BenchError> {
        let cores = Pair::find()?;
        let testbed = testbed.then(|| Testbed::up(1, &[])).transpose()?;
        Ok(Self { cores, machine_cores: machine_cores()?, testbed })
    }

    fn start(&self, args: &FanoutArgs, udp_io: &str) -> Result<Stack, BenchError> {
        let mut own = on_loopback(1, "adaptive");
        own.io = args.io.to_string();
        // Viewers wait for each other before the first object.
        own.engine.push_str(&format!("\nidle_timeout_ms = 600000\nudp_io = \"{udp_io}\""));
        own.toml = format!("delivery_timeout_ms = {}", args.delivery_timeout_ms);
        if let Some(testbed) = &self.testbed {
            own.host = Testbed::POP_IPV4;
            own.namespace = testbed.pop.clone();
        }
        pin(self.cores.measured)?;
        let stack = Stack::start(&own);
        pin(self.cores.load)?;
        if let Some(testbed) = &self.testbed {
            testbed.net.enter()?;
        }
        stack
    }

    fn shown(&self) -> String {
        let Pair { measured, load } = self.cores;
        let wire = if self.testbed.is_some() { "a veth pair between two namespaces" } else { "loopback" };
        format!("{wire}, engine on core {measured}, load on core {load}")
    }
}

/// Measures one number of viewers, on a fresh engine.
///
/// # Errors
/// Whatever keeps it from being made.
pub fn measure(args: &FanoutArgs, step: steps::Step<'_>, place: &Place) -> Result<Report, BenchError> {
    let viewers = step.viewers;
    args.stop.check()?;
    raise_files(u64::from(viewers) + FILES_BESIDES)?;
    let stack = place.start(args, step.udp_io)?;
    let measured = load(args, viewers, &stack, place.cores).map(|(load, measured)| {
        let mut report = Report::new("fanout: one broadcast to many viewers, packets on a wire");
        workload(&mut report, args, step, place);
        measured.tell(&mut report, &load, place, args);
        measured.judge(&mut report, &load, place, args);
        report
    });
    stack.tell_complaints(&measured);
    measured
}

/// What one step brought.
struct Step {
    viewers: u32,
    used: Used,
    /// Objects that each viewer was owed.
    owed: u64,
    /// Of all tracked viewers together.
    tracked: usize,
    /// UDP payload that came within the window, all viewers together.
    bytes: u64,
    /// Until the end of the drain: the viewer with the least, and the one with the most.
    bytes_least: u64,
    bytes_most: u64,
    /// Media bytes that each viewer was owed.
    media: u64,
}

fn load(args: &FanoutArgs, viewers: u32, stack: &Stack, cores: Pair) -> Result<(Load, Step), BenchError> {
    let depth = if args.verify == "full" { Depth::Full } else { Depth::Sample };
    let shape =
        Shape { object_len: args.object_len(), fps: args.fps, objects_a_group: u64::from(args.fps * GROUP_SECONDS) };
    let late_max = Duration::from_millis(args.delivery_timeout_ms) + DRAIN;
    let mut load = Load::join(&target(stack)?, shape, viewers as usize, depth, &args.stop)?;
    load.publishing.begin(Instant::now());
    load.run(SETTLE)?;
    let engine = stack.engine();
    let softirq = softirq_thread(cores.measured);
    let before = Usage::now(engine, softirq)?;
    let first = load.publishing.broadcast.published();
    load.audience.open(first);
    load.publishing.late_max = Duration::ZERO;
    load.run(Duration::from_secs(u64::from(args.seconds)))?;
    let used = Usage::now(engine, softirq)?.since(&before);
    let end = load.publishing.broadcast.published();
    load.audience.tally.close(end);
    load.publishing.end();
    let bytes = load.audience.bytes().sum();
    let (owed, tracked) = (end - first, load.audience.tracked());
    load.drain(owed * tracked as u64, late_max)?;
    let least_and_most = |of: fn(u64, u64) -> u64| load.audience.bytes().reduce(of).unwrap_or_default();
    let (bytes_least, bytes_most) = (least_and_most(u64::min), least_and_most(u64::max));
    let media = owed * shape.object_len as u64;
    let step = Step { viewers, used, owed, tracked, bytes, bytes_least, bytes_most, media };
    Ok((load, step))
}

/// An input of the stack, and how it is published and watched.
fn target(stack: &Stack) -> Result<Target, BenchError> {
    let input = stack.live_input("bench-fanout")?;
    let url = SessionUrl::playback(&stack.moqt_url(&input)?)?;
    let host: IpAddr = url.host.parse().map_err(|_| HarnessError::Output("moqt URL with an address"))?;
    Ok(Target {
        server: SocketAddr::from((host, url.port)),
        authority: url.authority,
        publish: format!("/publish/{}?sk={}", input.id, input.key),
        playback: url.path,
    })
}

/// Lets this process open so many files.
fn raise_files(wanted: u64) -> Result<(), BenchError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
    let failed = BenchError::file("open a socket a viewer with the limit of", "open files (ulimit -n)".as_ref());
    setrlimit(Resource::Nofile, raised).map_err(|error| failed(error.into()))
}

fn workload(report: &mut Report, args: &FanoutArgs, step: steps::Step<'_>, place: &Place) {
    let steps::Step { viewers, udp_io } = step;
    let FanoutArgs { bitrate, fps, seconds, verify, io, delivery_timeout_ms, .. } = args;
    let shown = format!("{viewers} viewers of {bitrate} bit/s, {fps} objects a second, a window of {seconds} s");
    let value = json!({
        "viewers": viewers, "bitrate": bitrate, "fps": fps, "seconds": seconds, "verify": verify,
        "delivery_timeout_ms": delivery_timeout_ms,
    });
    report.row("workload", value, "workload", shown);
    let way = if *io == Io::Udp { format!(" ({udp_io})") } else { String::new() };
    report.row("io", io.to_string(), "packets", format!("{io}{way}, {}", place.shown()));
    report.value("udp_io", udp_io);
    report.value("testbed", place.testbed.is_some());
}

impl Step {
    /// Objects of the window that tracked viewers did not get.
    fn missing(&self, load: &Load) -> u64 {
        (self.owed * self.tracked as u64).saturating_sub(load.audience.tally.objects)
    }

    /// Every object came, and in time. A viewer that is not tracked has got as many bytes at least as its objects have.
    fn sustained(&self, load: &Load, args: &FanoutArgs) -> bool {
        self.missing(load) == 0
            && self.bytes_least >= self.media
            && load.audience.tally.times.quantile_ms(0.99) <= args.p99_max_ms as f64
    }

    fn gbit_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.used.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn tell(&self, report: &mut Report, load: &Load, place: &Place, args: &FanoutArgs) {
        self.tell_delivery(report, load, args);
        self.tell_cost(report);
        let Self { used, .. } = self;
        let (busy, late) = (used.percent(used.load.total()), load.publishing.late_max.as_secs_f64() * 1_000.0);
        let (lost, rtt) = load.publishing.path();
        let rtt = rtt.as_secs_f64() * 1_000.0;
        let shown = format!(
            "{busy:.1} % of a core, objects sent up to {late:.2} ms late; the publisher lost {lost} packets, its round trip is {rtt:.1} ms"
        );
        let value =
            json!({ "percent": busy, "late_max_ms": late, "publisher_packets_lost": lost, "publisher_rtt_ms": rtt });
        report.row("load", value, "load", shown);
        let waited = used.percent(used.waited);
        report.row(
            "waited_percent",
            waited,
            "waited",
            format!("the engine waited {waited:.1} % of the time for its core"),
        );
        let steal = self.steal_percent(place);
        report.row("stolen_percent", steal, "stolen", format!("{steal:.1} % of the machine's time"));
    }

    fn tell_delivery(&self, report: &mut Report, load: &Load, args: &FanoutArgs) {
        let (tally, Self { used, tracked, owed, .. }) = (&load.audience.tally, self);
        let missing = self.missing(load);
        report.row("latency", tally.times.json(), "delivery", tally.times.shown());
        let dropped = used.counter(Counter::GroupsDropped);
        // An engine that is overloaded takes the publisher's packets late as well; what lags here is late before it is sent.
        let taken = used.counter(Counter::ObjectsIn);
        let shown = format!(
            "{} of {} at {tracked} viewers, {missing} missing; of {owed} published the engine took {taken} in the window; it dropped {dropped} late groups",
            tally.objects,
            owed * *tracked as u64,
        );
        let objects = json!({
            "owed_a_viewer": owed, "viewers_tracked": tracked, "delivered": tally.objects, "missing": missing,
            "taken_by_the_relay": taken, "groups_dropped": dropped, "sustained": self.sustained(load, args),
        });
        report.row("objects", objects, "objects", shown);
        let packets = (load.audience.packets, load.audience.decrypted);
        let percent = 100.0 * packets.1 as f64 / packets.0.max(1) as f64;
        let shown = format!(
            "{percent:.1} % of {} packets decrypted, {} media bytes compared, {} wrong",
            packets.0, tally.compared, tally.faults_count
        );
        let verified = json!({
            "packets": packets.0, "decrypted": packets.1, "media_bytes_compared": tally.compared,
            "faults": tally.faults_count,
        });
        report.row("verified", verified, "verified", shown);
        let gbit = self.gbit_s();
        let shares = [self.bytes_least, self.bytes_most].map(|bytes| bytes as f64 / self.media.max(1) as f64);
        let [least, most] = shares;
        let shown =
            format!("{gbit:.3} Gbit/s in the window; a viewer {least:.3} to {most:.3} of the bytes of its objects");
        let value = json!({ "gbit_s": gbit, "viewer_share_min": least, "viewer_share_max": most });
        report.row("throughput", value, "throughput", shown);
    }

    fn tell_cost(&self, report: &mut Report) {
        let Self { used, viewers, .. } = self;
        let (user, kernel, total) = (used.engine.user, used.engine_kernel(), used.engine_total());
        let ns = [user, kernel, total].map(|time| used.ns_a_packet(time));
        let shown = format!(
            "{:.1} % of a core: user {:.1}, kernel {:.1} (put off by the kernel: {})",
            used.percent(total),
            used.percent(user),
            used.percent(kernel),
            used.softirq.map_or_else(|| "not to be seen".to_owned(), |time| format!("{:.1}", used.percent(time))),
        );
        let value = json!({
            "percent": used.percent(total), "user_percent": used.percent(user), "kernel_percent": used.percent(kernel),
            "softirq_thread_percent": used.softirq.map(|time| used.percent(time)),
        });
        report.row("engine", value, "engine", shown);
        let sent = used.counter(Counter::TxDatagrams);
        let shown = format!("{:.0} ns: user {:.0}, kernel {:.0} ({sent} packets sent)", ns[2], ns[0], ns[1]);
        let value = json!({ "total": ns[2], "user": ns[0], "kernel": ns[1] });
        report.row("ns_a_packet", value, "a packet", shown);
        let a_core = f64::from(*viewers) * used.elapsed.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE);
        let gbit = self.bytes as f64 * 8.0 / 1e9 / total.as_secs_f64().max(f64::MIN_POSITIVE);
        report.row("viewers_a_core", a_core, "a core", format!("{a_core:.0} viewers, {gbit:.2} Gbit/s"));
        report.value("gbit_a_core", gbit);
        let counters: serde_json::Map<String, Value> = Counter::ALL
            .iter()
            .filter(|counter| used.counter(**counter) > 0)
            .map(|counter| (counter.name().to_owned(), used.counter(*counter).into()))
            .collect();
        report.value("engine_counters", counters);
    }

    /// Of all cores together.
    fn steal_percent(&self, place: &Place) -> f64 {
        self.used.percent(self.used.stolen) / place.machine_cores as f64
    }

    /// Says what makes the figures others than they claim to be.
    fn judge(&self, report: &mut Report, load: &Load, place: &Place, args: &FanoutArgs) {
        let (used, tally, viewers) = (&self.used, &load.audience.tally, self.viewers);
        let busy = used.percent(used.load.total());
        if busy > LOAD_PERCENT_MAX {
            report.failure(format!(
                "{viewers} viewers: the load was {busy:.0} % busy (at most {LOAD_PERCENT_MAX:.0} %): it is what was measured; take fewer viewers"
            ));
        }
        let steal = self.steal_percent(place);
        if steal > STEAL_PERCENT_MAX {
            report.failure(format!(
                "{viewers} viewers: the hypervisor took {steal:.1} % of the machine (at most {STEAL_PERCENT_MAX:.0} %); measure again"
            ));
        }
        let waited = used.percent(used.waited);
        if waited > WAITED_PERCENT_MAX {
            report.failure(format!(
                "{viewers} viewers: something else had the engine's core for {waited:.1} % of the time (at most {WAITED_PERCENT_MAX:.0} %); measure on a quiet machine"
            ));
        }
        if !place.cores.apart() {
            report.failure("engine and load shared the only core: what one took the other lacked");
        }
        if matches!(args.io, Io::Xdp(_)) && used.counter(Counter::XdpReceived) == 0 {
            report.failure("no packet came by AF_XDP");
        }
        if tally.compared == 0 {
            report.failure(format!("{viewers} viewers: nothing was compared with what was published"));
        }
        for fault in &tally.faults {
            report.failure(format!("{viewers} viewers: {fault} ({} faults)", tally.faults_count));
        }
        let p99 = tally.times.quantile_ms(0.99);
        report.summary(format!(
            "p99 {p99:.2} ms, missing {} of {} ({} groups dropped), {:.3} Gbit/s, engine {:.0} % of a core, {:.0} ns a packet (user {:.0}, kernel {:.0}), load {busy:.0} %{}",
            self.missing(load),
            self.owed * self.tracked as u64,
            used.counter(Counter::GroupsDropped),
            self.gbit_s(),
            used.percent(used.engine_total()),
            used.ns_a_packet(used.engine_total()),
            used.ns_a_packet(used.engine.user),
            used.ns_a_packet(used.engine_kernel()),
            if self.sustained(load, args) { "" } else { " - not sustained" },
        ));
        report.sustained(self.sustained(load, args));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of it with a real engine, everything decrypted, however slow the machine is: every byte of every object comes.
    #[test]
    fn every_viewer_of_a_real_engine_gets_every_object() {
        let args = FanoutArgs {
            bitrate: 500_000,
            fps: 10,
            seconds: 2,
            verify: "full".into(),
            io: Io::Udp,
            // What is late is late, but nothing is dropped.
            delivery_timeout_ms: 60_000,
            ..FanoutArgs::defaults()
        };
        let viewers = 20;
        let measuring = std::thread::spawn(move || {
            {
                let step = steps::Step { viewers, udp_io: "auto" };
                measure(&args, step, &Place::find(false).unwrap())
            }
            .unwrap()
        });
        let report = measuring.join().unwrap();
        let json = report.json(&crate::machine::Machine::read());
        let result = &json["result"];
        let owed = result["objects"]["owed_a_viewer"].as_u64().unwrap();
        assert!(owed > 0, "{json}");
        assert_eq!(result["objects"]["delivered"], owed * u64::from(viewers), "{json}");
        assert_eq!(result["objects"]["missing"], 0, "{json}");
        assert_eq!(result["latency"]["samples"], owed * u64::from(viewers), "{json}");
        assert_eq!(result["verified"]["faults"], 0, "{json}");
        assert!(result["verified"]["media_bytes_compared"].as_u64().unwrap() >= owed * 20 * 6_250, "{json}");
        assert!(result["engine"]["percent"].as_f64().unwrap() > 0.0, "{json}");
        assert!(result["engine_counters"]["tx_datagrams"].as_u64().unwrap() > 0, "{json}");
    }
}
