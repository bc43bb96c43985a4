//! The fan-out in memory: what a packet costs the engine, beside quiche alone.
//!
//! ```text
//!   round:   engine  group of 2 s, object after object ---> turn, viewers answer, turn, ... until everybody has it
//!            floor   the same objects, quiche alone    ---> write, send, viewers answer, recv, ...
//! ```
//!
//! Only the processor time of the measured side counts; viewers work outside of it. Nobody waits for the clock: an object
//! follows when everybody has the one before. Engine and floor take turns, so that both see the same machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streams_engine::quic::TlsFiles;
use streams_engine::stages::Stage;

use super::check::Object;
use super::crowd::Crowd;
use super::engine_side::EngineSide;
use super::floor::Floor;
use super::meter::Tally;
use super::receiver::Depth;
use super::{FanoutArgs, GROUP_SECONDS};
use crate::error::BenchError;
use crate::process;
use crate::report::{PacketCosts, Report};

/// Frames that go round between the measured side and the viewers: 4 MiB of them are written before they are answered.
pub const FRAMES: usize = 64;
/// How long one viewer may take to join.
pub const JOIN_MAX: Duration = Duration::from_secs(20);
/// Groups before the measured ones: congestion windows open, buffers get their size.
const WARM_UP: u64 = 1;

/// One of the two that are measured.
pub trait Side {
    /// Hands an object to every viewer and waits until all have it.
    fn object(&mut self, object: &Object, tally: &mut Tally) -> Result<(), BenchError>;

    /// Its viewers.
    fn crowd(&self) -> &Crowd;
}

/// The address of both servers; no packet ever goes there.
pub fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_433))
}

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, BenchError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("streams-fanout-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).map_err(BenchError::file("make", &folder))?;
        Ok(Self(folder))
    }

    fn tls(&self) -> Result<TlsFiles, BenchError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (self.0.join("cert.pem"), self.0.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).map_err(BenchError::file("write", &certificate))?;
        std::fs::write(&key, made.signing_key.serialize_pem()).map_err(BenchError::file("write", &key))?;
        Ok(TlsFiles { certificate, key })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What one side did in all measured rounds.
struct Measured {
    total: Tally,
    /// A round each.
    rounds: Vec<Tally>,
    /// ns a packet of each object.
    objects: PacketCosts,
}

impl Measured {
    fn new() -> Result<Self, BenchError> {
        Ok(Self { total: Tally::default(), rounds: Vec::new(), objects: PacketCosts::new()? })
    }

    /// One group.
    fn round(&mut self, side: &mut dyn Side, group: u64, args: &FanoutArgs) -> Result<(), BenchError> {
        let mut round = Tally::default();
        for object in objects(group, args) {
            args.stop.check()?;
            let mut tally = Tally::default();
            side.object(&object, &mut tally)?;
            self.objects.record(tally.ns_a_packet());
            round.add(&tally);
        }
        self.total.add(&round);
        self.rounds.push(round);
        Ok(())
    }

    fn json(&self) -> Value {
        let Tally { packets, bytes, objects, cpu, .. } = self.total;
        json!({
            "ns_a_packet": self.total.ns_a_packet(),
            "us_an_object": self.total.us_an_object(),
            "gbit_a_core": self.total.gbit_a_core(),
            "allocations_a_packet": self.total.allocations_a_packet(),
            "ns_a_packet_by_object": self.objects.json(),
            "ns_a_packet_by_round": self.rounds.iter().map(Tally::ns_a_packet).collect::<Vec<_>>(),
            "packets": packets, "bytes": bytes, "objects": objects, "cpu_seconds": cpu.as_secs_f64(),
        })
    }

    fn shown(&self) -> String {
        let total = &self.total;
        format!(
            "{:.0} ns a packet, {:.1} us an object of a viewer, {:.2} Gbit/s a core, {:.3} allocations a packet",
            total.ns_a_packet(),
            total.us_an_object(),
            total.gbit_a_core(),
            total.allocations_a_packet(),
        )
    }
}

fn objects(group: u64, args: &FanoutArgs) -> impl Iterator<Item = Object> + use<> {
    let count = u64::from(args.fps * GROUP_SECONDS);
    let len = args.object_len();
    (0..count).map(move |id| Object::synthetic(group, id, len, id + 1 == count))
}

/// Measures one number of viewers.
///
/// # Errors
/// Whatever keeps it from being made. What viewers did not get is a failure in the report.
pub fn measure(args: &FanoutArgs, viewers: u32) -> Result<Report, BenchError> {
    let scratch = Scratch::new()?;
    let tls = scratch.tls()?;
    let count = viewers;
    let viewers = viewers as usize;
    let depth = if args.verify == "full" { Depth::Full } else { Depth::Sample };
    let joining = Instant::now();
    let mut engine = EngineSide::new(&scratch.0, &tls, viewers, args.idle_tracks, depth)?;
    let joined = joining.elapsed();
    let mut floor = Floor::new(&tls, viewers, depth)?;
    let (mut of_engine, mut of_floor) = (Measured::new()?, Measured::new()?);
    let mut warm = Measured::new()?;
    for group in 1..=WARM_UP {
        warm.round(&mut engine, group, args)?;
        warm.round(&mut floor, group, args)?;
    }
    let (stolen, began) = (process::machine_stolen()?, Instant::now());
    let rounds = u64::from(args.seconds / GROUP_SECONDS);
    for group in WARM_UP + 1..=WARM_UP + rounds {
        of_engine.round(&mut engine, group, args)?;
        of_floor.round(&mut floor, group, args)?;
    }
    let stolen = process::machine_stolen()?.saturating_sub(stolen).as_secs_f64() / began.elapsed().as_secs_f64();
    engine.split_stages();
    warm.round(&mut engine, WARM_UP + rounds + 1, args)?;
    let stages = engine.split_stages();

    let mut report = Report::new("fanout: one broadcast to many viewers, packets in memory");
    let Counted { lines, verified } = counted(&[("engine", engine.crowd()), ("floor", floor.crowd())]);
    parameters(&mut report, args, count, joined, stolen);
    figures(&mut report, args, &of_engine, &of_floor);
    tell_stages(&mut report, &stages, &of_engine.total);
    report.row("verified", verified, "verified", lines.join("; "));
    for (name, side) in [("engine", engine.crowd()), ("floor", floor.crowd())] {
        side.check.faults().iter().for_each(|fault| report.failure(format!("{name}: {fault}")));
    }
    Ok(report)
}

fn parameters(report: &mut Report, args: &FanoutArgs, viewers: u32, joined: Duration, stolen: f64) {
    let FanoutArgs { bitrate, fps, seconds, verify, io, idle_tracks, .. } = args;
    let mut shown = format!("{viewers} viewers of {bitrate} bit/s, {fps} objects a second, {seconds} s of broadcast");
    if *idle_tracks > 0 {
        shown.push_str(&format!(", {idle_tracks} idle tracks beside it"));
    }
    let value = json!({
        "viewers": viewers, "bitrate": bitrate, "fps": fps, "seconds": seconds, "verify": verify,
        "idle_tracks": idle_tracks,
    });
    report.row("workload", value, "workload", shown);
    report.value("io", io.to_string());
    let ms = joined.as_secs_f64() * 1_000.0 / f64::from(viewers);
    report.row("join_ms", ms, "joins", format!("{ms:.2} ms a viewer, client and engine on one thread"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let percent = 100.0 * stolen / cores;
    report.row("stolen_percent", percent, "stolen", format!("{percent:.1} % of the machine's time"));
}

fn figures(report: &mut Report, args: &FanoutArgs, engine: &Measured, floor: &Measured) {
    report.row("engine", engine.json(), "engine", engine.shown());
    report.row("engine_objects", engine.objects.json(), "", engine.objects.shown());
    report.row("floor", floor.json(), "quiche alone", floor.shown());
    report.row("floor_objects", floor.objects.json(), "", floor.objects.shown());
    let of = |figure: fn(&Tally) -> f64| figure(&engine.total) / figure(&floor.total).max(f64::MIN_POSITIVE);
    let (packet, object) = (of(Tally::ns_a_packet), of(Tally::us_an_object));
    let mut rounds: Vec<f64> = engine
        .rounds
        .iter()
        .zip(&floor.rounds)
        .map(|(engine, floor)| engine.ns_a_packet() / floor.ns_a_packet().max(f64::MIN_POSITIVE))
        .collect();
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
    let (least, median, most) = (at(0), at(rounds.len() / 2), at(rounds.len().saturating_sub(1)));
    let shown = format!(
        "{packet:.3} a packet (rounds: {least:.3} to {most:.3}, median {median:.3}), {object:.3} an object of a viewer"
    );
    report.row("ratio", packet, "engine / quiche", shown);
    report.value("ratio_an_object", object);
    report.value("ratio_rounds", json!({ "min": least, "median": median, "max": most }));
    let a_core = 1e6 / (engine.total.us_an_object() * f64::from(args.fps));
    report.row("viewers_a_core", a_core, "viewers a core", format!("{a_core:.0}, user space alone"));
    let [ns, floor_ns] = [engine, floor].map(|side| side.total.ns_a_packet());
    let us = engine.total.us_an_object();
    report.summary(format!(
        "{ns:.0} ns a packet, quiche alone {floor_ns:.0}, ratio {packet:.3} a packet, {object:.3} an object; {us:.1} us an object of a viewer"
    ));
}

fn tell_stages(report: &mut Report, stages: &[Duration; Stage::COUNT], engine: &Tally) {
    let whole = stages.iter().sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
    for (stage, name) in Stage::ALL {
        let share = stages.get(stage as usize).map_or(0.0, Duration::as_secs_f64) / whole;
        let ns = share * engine.ns_a_packet();
        let value = json!({ "percent": 100.0 * share, "ns_a_packet": ns });
        let shown = format!("{:.1} % of the engine's time, some {ns:.0} ns a packet", 100.0 * share);
        report.row(&format!("stage {name}"), value, name, shown);
    }
}

struct Counted {
    lines: Vec<String>,
    verified: Value,
}

fn counted(crowds: &[(&str, &Crowd)]) -> Counted {
    let mut verified = serde_json::Map::new();
    let lines = crowds.iter().map(|(name, crowd)| {
        let (packets, decrypted, check) = (crowd.packets, crowd.decrypted, &crowd.check);
        let value = json!({
            "packets": packets, "decrypted": decrypted,
            "media_bytes_compared": check.compared, "faults": check.faults_count,
        });
        verified.insert((*name).to_owned(), value);
        let percent = 100.0 * decrypted as f64 / packets.max(1) as f64;
        format!("{name}: {percent:.1} % of {packets} packets decrypted, {} wrong", check.faults_count)
    });
    let lines = lines.collect();
    Counted { lines, verified: Value::Object(verified) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> FanoutArgs {
        FanoutArgs { bitrate: 2_000_000, fps: 5, seconds: 2, verify: "full".into(), ..FanoutArgs::defaults() }
    }

    #[test]
    fn objects_have_the_length_of_the_bitrate_and_fill_their_group() {
        let all: Vec<Object> = objects(3, &args()).collect();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|object| object.payload.len() == 50_000 && object.group == 3));
        assert_eq!(all.iter().filter(|object| object.ends_group).count(), 1);
        assert!(all[9].ends_group);
        assert_ne!(all[0].payload, all[1].payload);
    }

    /// Handshakes, subscriptions, three groups, everything decrypted: no byte is missing or wrong.
    #[test]
    fn every_viewer_gets_every_byte_of_engine_and_floor() {
        // More viewers than frames, so that the way out is full at times.
        let report = measure(&args(), 70).unwrap();
        assert_eq!(report.failures(), &[] as &[String]);
        let json = report.json(&crate::machine::Machine::read());
        for (side, groups) in [("engine", 3), ("floor", 2)] {
            let verified = &json["result"]["verified"][side];
            assert_eq!(verified["packets"], verified["decrypted"], "{side}");
            let bytes = verified["media_bytes_compared"].as_u64().unwrap();
            assert!(bytes > 70 * groups * 10 * 50_000, "{side}: {bytes}");
        }
        let packets = json["result"]["engine"]["packets"].as_u64().unwrap();
        assert!(packets > 70 * 10 * 50_000 / 1_472, "{packets}");
    }
    /// Tracks that nobody watches are there, and nothing else changes.
    #[test]
    fn idle_tracks_change_nothing_that_viewers_get() {
        let report = measure(&FanoutArgs { idle_tracks: 1_000, ..args() }, 3).unwrap();
        assert_eq!(report.failures(), &[] as &[String]);
        let json = report.json(&crate::machine::Machine::read());
        assert!(json["result"]["verified"]["engine"]["media_bytes_compared"].as_u64().unwrap() > 3 * 3 * 10 * 50_000);
    }
}
