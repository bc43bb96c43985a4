//! What is counted of the measured side: processor time of this thread, packets, allocations.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::allocations;

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Sums over the measured steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processor time.
    pub cpu: Duration,
    /// Allocations.
    pub allocations: u64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Objects handed out, once for every viewer.
    pub objects: u64,
}

impl Tally {
    /// Runs a step of the measured side. What runs outside of such steps costs nothing.
    pub fn measure<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let (allocations, cpu) = (allocations::of_this_thread(), thread_cpu());
        let result = step();
        self.cpu += thread_cpu().saturating_sub(cpu);
        self.allocations += allocations::of_this_thread().wrapping_sub(allocations);
        result
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.allocations += other.allocations;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.objects += other.objects;
    }

    /// Processor time a packet, ns.
    pub fn ns_a_packet(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// Processor time for one object of one viewer, µs.
    pub fn us_an_object(&self) -> f64 {
        self.cpu.as_nanos() as f64 / 1_000.0 / self.objects.max(1) as f64
    }

    /// Gigabits of UDP payload that one core sends in a second.
    pub fn gbit_a_core(&self) -> f64 {
        self.bytes as f64 * 8.0 / (self.cpu.as_nanos() as f64).max(1.0)
    }

    /// Allocations a packet.
    pub fn allocations_a_packet(&self) -> f64 {
        self.allocations as f64 / self.packets.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_measured_steps_count() {
        let mut tally = Tally::default();
        let spin = |time| {
            let until = thread_cpu() + time;
            while thread_cpu() < until {
                std::hint::spin_loop();
            }
        };
        spin(Duration::from_millis(20));
        drop(std::hint::black_box(vec![0u8; 10]));
        tally.measure(|| {
            spin(Duration::from_millis(5));
            std::hint::black_box(vec![0u8; 10])
        });
        assert!((Duration::from_millis(5)..Duration::from_millis(20)).contains(&tally.cpu), "{tally:?}");
        assert_eq!(tally.allocations, 1);
    }

    #[test]
    fn figures_follow_from_the_sums() {
        let one = Tally { cpu: Duration::from_micros(10), allocations: 4, packets: 8, bytes: 10_000, objects: 2 };
        let mut tally = one;
        tally.add(&one);
        assert_eq!(
            tally,
            Tally { cpu: Duration::from_micros(20), allocations: 8, packets: 16, bytes: 20_000, objects: 4 }
        );
        assert_eq!(tally.ns_a_packet(), 1_250.0);
        assert_eq!(tally.us_an_object(), 5.0);
        assert_eq!(tally.gbit_a_core(), 8.0);
        assert_eq!(tally.allocations_a_packet(), 0.5);
    }
}
