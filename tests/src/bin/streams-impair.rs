//! Stands between two interfaces and moves Ethernet frames from each to the other, as a bad line would.
//!
//! ```text
//!  --pop IF ◀──▶ packet socket ──▶ lane "to_net" ──▶ packet socket ◀──▶ --net IF
//!                      ▲───────── lane "to_pop" ◀─────────┘
//! ```
//!
//! `scripts/testbed` starts it in a namespace of its own. It prints one line of JSON when it is ready, one with its counters on
//! each SIGUSR1, and one at its end: on SIGTERM or SIGINT, or when an interface is gone. A frame's VLAN tag is not kept.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use serde_json::json;
use streams_tests::{Counters, FRAME_LEN_MAX, Impairment, Lane, Port, interface_is_gone};

/// Frames taken from one side before the other one has its turn.
const BATCH_FRAMES_MAX: usize = 64;

#[derive(Debug, Parser)]
#[command(about = "Moves Ethernet frames between two interfaces as a bad line would")]
struct Arguments {
    /// Interface towards the engine
    #[arg(long, value_name = "IF")]
    pop: String,
    /// Interface towards the clients
    #[arg(long, value_name = "IF")]
    net: String,
    /// Share of frames that are lost, such as 1%
    #[arg(long, default_value = "0%", value_parser = parse_share)]
    loss: f64,
    /// Every frame takes so long, such as 20ms
    #[arg(long, default_value = "0ms", value_parser = parse_time)]
    delay: Duration,
    /// Up to so much is added to the delay; the order stays
    #[arg(long, default_value = "0ms", value_parser = parse_time)]
    jitter: Duration,
    /// Share of frames that are overtaken by those behind them, such as 0.5%
    #[arg(long, default_value = "0%", value_parser = parse_share)]
    reorder: f64,
    /// Of the choices; the other direction uses the next number
    #[arg(long)]
    seed: u64,
    /// Frames under way in one direction; further ones are dropped
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    queue_frames: u64,
}

/// `1%`, `0.5%`.
fn parse_share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|digits| digits.parse::<f64>().ok());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "write a share from 0% to 100%, such as 0.5%".to_owned())
}

/// `500us`, `20ms`, `1s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_us = match text.get(digits.len()..).unwrap_or_default() {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        _ => 0,
    };
    let time_us = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_us));
    time_us
        .filter(|time_us| unit_us > 0 && *time_us <= 10_000_000)
        .map(Duration::from_micros)
        .ok_or_else(|| "write a time from 0ms to 10s with its unit, such as 500us, 20ms or 1s".to_owned())
}

/// One way through: where its frames come from, and what the line does to them.
struct Direction {
    lane: Lane,
    send_failed: u64,
}

struct Impairer {
    /// Towards the engine, towards the clients.
    ports: [Port; 2],
    /// From the port of the same index to the other one.
    ways: [Direction; 2],
    signals: SignalFd,
    started: Instant,
    seed: u64,
}

impl Impairer {
    fn open(arguments: &Arguments) -> Result<Self, String> {
        let mut mask = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1].into_iter().for_each(|signal| mask.add(signal));
        let signals = mask
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC))
            .map_err(|error| format!("cannot take signals: {error}"))?;
        let impairment = Impairment {
            loss: arguments.loss,
            delay: arguments.delay,
            jitter: arguments.jitter,
            reorder: arguments.reorder,
            queue_frames_max: usize::try_from(arguments.queue_frames).unwrap_or(usize::MAX),
        };
        let way = |seed| Direction { lane: Lane::new(impairment, seed), send_failed: 0 };
        Ok(Self {
            ports: [Port::open(&arguments.pop)?, Port::open(&arguments.net)?],
            ways: [way(arguments.seed), way(arguments.seed.wrapping_add(1))],
            signals,
            started: Instant::now(),
            seed: arguments.seed,
        })
    }

    /// Moves frames until a signal or the end of an interface.
    fn run(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; FRAME_LEN_MAX];
        self.say(&json!({ "ready": true, "seed": self.seed }));
        while !self.signalled()? {
            let alive = self.take_frames(&mut buffer)? && self.send_due()?;
            if !alive {
                break;
            }
            self.sleep()?;
        }
        self.tell();
        Ok(())
    }

    /// Waits for a frame, a signal or the time of the next departure; not at all when there is something to do.
    fn sleep(&self) -> Result<(), String> {
        let next = self.ways.iter().filter_map(|way| way.lane.next_due()).min();
        let wait = next.map(|due| TimeSpec::from(due.saturating_sub(self.started.elapsed())));
        let [pop, net] = &self.ports;
        let mut waited = [pop.as_fd(), net.as_fd(), self.signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut waited, wait, None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(format!("cannot wait for frames: {error}")),
        }
    }

    /// False when an interface is gone.
    fn take_frames(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        for (port, way) in self.ports.iter_mut().zip(&mut self.ways) {
            for _ in 0..BATCH_FRAMES_MAX {
                match port.receive(buffer) {
                    Ok(Some(frame)) => {
                        way.lane.frame(self.started.elapsed(), frame);
                    }
                    Ok(None) => break,
                    Err(error) if interface_is_gone(error) => return Ok(false),
                    Err(error) => return Err(format!("cannot receive on {}: {error}", port.name())),
                }
            }
        }
        Ok(true)
    }

    /// False when an interface is gone.
    fn send_due(&mut self) -> Result<bool, String> {
        let now = self.started.elapsed();
        for (way, port) in self.ways.iter_mut().zip(self.ports.iter().rev()) {
            while let Some(frame) = way.lane.depart(now) {
                match port.send(&frame) {
                    Ok(()) => {}
                    Err(error) if interface_is_gone(error) => return Ok(false),
                    // The counters tell it: a line may lose frames, and the next one may pass.
                    Err(_) => way.send_failed += 1,
                }
            }
        }
        Ok(true)
    }

    /// Whether a signal asks for the end.
    fn signalled(&mut self) -> Result<bool, String> {
        while let Some(signal) = self.signals.read_signal().map_err(|error| format!("cannot read a signal: {error}"))? {
            if i64::from(signal.ssi_signo) != Signal::SIGUSR1 as i64 {
                return Ok(true);
            }
            self.tell();
        }
        Ok(false)
    }

    fn tell(&self) {
        let [pop, net] = &self.ports;
        let [to_net, to_pop] = &self.ways;
        let way = |way: &Direction, from: &Port| {
            let Counters { received, lost, reordered, queue_full, departed } = way.lane.counters();
            json!({
                "received": received,
                "lost": lost,
                "reordered": reordered,
                "queue_full": queue_full,
                "departed": departed,
                "waiting": way.lane.waiting(),
                "send_failed": way.send_failed,
                "socket_overflowed": from.overflowed(),
            })
        };
        self.say(&json!({ "seed": self.seed, "to_net": way(to_net, pop), "to_pop": way(to_pop, net) }));
    }

    fn say(&self, line: &serde_json::Value) {
        // A reader that went away changes nothing for the line.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn main() -> ExitCode {
    match Impairer::open(&Arguments::parse()).and_then(|mut impairer| impairer.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("streams-impair: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn shares_and_times_have_units_and_limits() {
        assert_eq!(parse_share("0.5%"), Ok(0.005));
        assert_eq!(parse_share("100%"), Ok(1.0));
        assert_eq!(parse_time("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("500us"), Ok(Duration::from_micros(500)));
        for wrong in ["", "1", "101%", "-1%", "NaN%", "x%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "20", "ms", "-1ms", "11s", "99999999999999999999s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
