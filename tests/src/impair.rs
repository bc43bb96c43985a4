//! One direction of a bad line: which frames are lost, and when the others leave. No socket, no clock.
//!
//! ```text
//!                    lost: 1 of n          reorder: held back REORDER_HOLD longer, the later ones overtake
//! frame(now) ──▶ draw three numbers ──▶ due = now + delay + jitter, never before the one ahead ──▶ queue ──▶ depart(now)
//!                                                                      full: the new frame is dropped
//! ```
//!
//! Each frame draws the same count of random numbers whatever becomes of it, so the fate of the n-th frame follows from the
//! seed alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// How much longer than the others a reordered frame waits: several packets behind each other at 5 Mbit/s.
pub const REORDER_HOLD: Duration = Duration::from_millis(5);

/// What is wrong with a line, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Share of frames that are lost, 0 to 1.
    pub loss: f64,
    /// Every frame takes so long.
    pub delay: Duration,
    /// Up to so much is added to the delay of each frame, evenly spread. It does not change the order.
    pub jitter: Duration,
    /// Share of frames that are held back by [`REORDER_HOLD`], 0 to 1.
    pub reorder: f64,
    /// Frames under way at the same time; further ones are dropped.
    pub queue_frames_max: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves at this time.
    Due(Duration),
    /// The line lost it.
    Lost,
    /// Too many were under way.
    QueueFull,
}

/// Counts since the start, of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Came in.
    pub received: u64,
    /// Lost by the line.
    pub lost: u64,
    /// Held back so that others overtake; the queue had room for them.
    pub reordered: u64,
    /// Dropped because too many were under way.
    pub queue_full: u64,
    /// Went out.
    pub departed: u64,
}

/// One direction.
#[derive(Debug)]
pub struct Lane {
    impairment: Impairment,
    random: u64,
    /// By due time, then by arrival.
    queue: BTreeMap<(Duration, u64), Vec<u8>>,
    newest_due: Duration,
    counters: Counters,
}

impl Lane {
    /// An empty line.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: seed,
            queue: BTreeMap::new(),
            newest_due: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// Takes a frame that arrived at `now`.
    pub fn frame(&mut self, now: Duration, frame: &[u8]) -> Fate {
        let arrival = self.counters.received;
        self.counters.received += 1;
        let (loss, jitter, reorder) = (self.draw(), self.draw(), self.draw());
        let Impairment { queue_frames_max, .. } = self.impairment;
        if loss < self.impairment.loss {
            self.counters.lost += 1;
            return Fate::Lost;
        }
        if self.queue.len() >= queue_frames_max {
            self.counters.queue_full += 1;
            return Fate::QueueFull;
        }
        let delay = self.impairment.delay + self.impairment.jitter.mul_f64(jitter);
        let mut due = self.newest_due.max(now + delay);
        if reorder < self.impairment.reorder {
            self.counters.reordered += 1;
            due += REORDER_HOLD;
        } else {
            self.newest_due = due;
        }
        self.queue.insert((due, arrival), frame.to_vec());
        Fate::Due(due)
    }

    /// When the next frame leaves.
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next frame that has to have left by `now`.
    pub fn depart(&mut self, now: Duration) -> Option<Vec<u8>> {
        let next = self.queue.first_entry().filter(|next| next.key().0 <= now)?;
        self.counters.departed += 1;
        Some(next.remove())
    }

    /// Counts so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Frames under way.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A number from 0 to below 1, by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what an f64 holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// Frames of a story in virtual time, one every 100 us.
    const FRAMES: u64 = 100_000;
    const GAP: Duration = Duration::from_micros(100);

    const NOTHING: Impairment =
        Impairment { loss: 0.0, delay: Duration::ZERO, jitter: Duration::ZERO, reorder: 0.0, queue_frames_max: 10_000 };

    /// A new one each time; a failing test shows it.
    fn seed() -> u64 {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
        println!("seed {seed}");
        seed
    }

    /// Number of each frame that left, when it came and when it left.
    fn story(impairment: Impairment, seed: u64) -> (Vec<(u64, Duration, Duration)>, Counters) {
        let mut lane = Lane::new(impairment, seed);
        let mut left = Vec::new();
        let mut leave = |lane: &mut Lane, until: Duration| {
            while let Some(due) = lane.next_due().filter(|due| *due <= until) {
                let frame = lane.depart(due).expect("it is due");
                let number = u64::from_be_bytes(frame.try_into().expect("eight bytes"));
                left.push((number, GAP * u32::try_from(number).expect("small"), due));
            }
        };
        for number in 0..FRAMES {
            let now = GAP * u32::try_from(number).expect("small");
            leave(&mut lane, now);
            lane.frame(now, &number.to_be_bytes());
        }
        leave(&mut lane, Duration::MAX);
        assert_eq!(lane.waiting(), 0);
        (left, lane.counters())
    }

    #[test]
    fn a_good_line_keeps_every_frame_and_takes_no_time() {
        let (left, counters) = story(NOTHING, seed());
        assert!(left.iter().enumerate().all(|(index, (number, came, went))| index as u64 == *number && came == went));
        assert_eq!(counters, Counters { received: FRAMES, departed: FRAMES, ..Counters::default() });
    }

    #[test]
    fn as_many_frames_are_lost_as_was_asked_for() {
        for loss in [0.001, 0.01, 0.3] {
            let (left, counters) = story(Impairment { loss, ..NOTHING }, seed());
            let (share, expected) = (counters.lost as f64 / FRAMES as f64, loss);
            // Six standard deviations: one story in 500 million fails by chance.
            let bound = 6.0 * (loss * (1.0 - loss) / FRAMES as f64).sqrt();
            assert!((share - expected).abs() < bound, "{share} instead of {expected} +- {bound}");
            assert_eq!(left.len() as u64 + counters.lost, FRAMES);
            assert_eq!(counters.departed, left.len() as u64);
        }
        let (left, counters) = story(Impairment { loss: 1.0, ..NOTHING }, seed());
        assert_eq!((left.len(), counters.lost), (0, FRAMES));
    }

    #[test]
    fn delay_and_jitter_hold_for_every_frame_and_keep_the_order() {
        let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(7));
        let (left, counters) = story(Impairment { delay, jitter, ..NOTHING }, seed());
        assert_eq!(left.len() as u64, FRAMES);
        assert!(left.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].2 <= pair[1].2), "the order stays");
        assert!(left.iter().all(|(_, came, went)| (delay..=delay + jitter).contains(&(*went - *came))));
        let slowest = left.iter().map(|(_, came, went)| *went - *came).max().expect("frames");
        assert!(slowest > delay + jitter.mul_f64(0.9), "the jitter is used: {slowest:?}");
        assert_eq!(counters.reordered, 0);
    }

    #[test]
    fn reordered_frames_are_overtaken_and_all_arrive() {
        let (reorder, delay) = (0.005, Duration::from_millis(20));
        let (left, counters) = story(Impairment { reorder, delay, ..NOTHING }, seed());
        assert_eq!(left.len() as u64, FRAMES);
        let late = left.iter().filter(|(_, came, went)| *went - *came > delay).count() as u64;
        assert_eq!(late, counters.reordered);
        let bound = 6.0 * (reorder * (1.0 - reorder) / FRAMES as f64).sqrt();
        let share = late as f64 / FRAMES as f64;
        assert!((share - reorder).abs() < bound, "{share} instead of {reorder} +- {bound}");
        assert!(left.iter().all(|(_, came, went)| *went - *came <= delay + REORDER_HOLD));
        let overtaken = left.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        assert!(overtaken > 0, "some frame went behind a later one");
    }

    #[test]
    fn a_full_queue_drops_the_newest_frame_and_counts_it() {
        let impairment = Impairment { delay: Duration::from_secs(1), queue_frames_max: 100, ..NOTHING };
        let mut lane = Lane::new(impairment, seed());
        let fates: Vec<Fate> = (0..150_u64).map(|number| lane.frame(Duration::ZERO, &number.to_be_bytes())).collect();
        assert!(fates[..100].iter().all(|fate| *fate == Fate::Due(Duration::from_secs(1))));
        assert!(fates[100..].iter().all(|fate| *fate == Fate::QueueFull));
        assert_eq!((lane.counters().queue_full, lane.waiting()), (50, 100));
        assert_eq!(lane.depart(Duration::from_millis(999)), None);
        assert_eq!(lane.depart(Duration::from_secs(1)), Some(0_u64.to_be_bytes().to_vec()));
        assert!(matches!(lane.frame(Duration::from_secs(1), &[0; 8]), Fate::Due(_)), "there is room again");
    }

    #[test]
    fn the_same_seed_tells_the_same_story_and_another_seed_another() {
        let impairment = Impairment { loss: 0.01, jitter: Duration::from_millis(3), reorder: 0.01, ..NOTHING };
        let seed = seed();
        assert_eq!(story(impairment, seed), story(impairment, seed));
        assert_ne!(story(impairment, seed).0, story(impairment, seed ^ 1).0);
    }
}
