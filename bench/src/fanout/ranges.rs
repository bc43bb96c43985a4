//! Packet numbers that were received, as ranges.

use std::ops::RangeInclusive;

/// Ranges that are kept: in memory nothing is lost, so what lies further back was acknowledged many times. A gap is a number
/// that the sender has left out on purpose.
const RANGES_MAX: usize = 4;

/// The newest ranges of packet numbers, ascending.
#[derive(Debug, Default)]
pub struct Ranges(Vec<RangeInclusive<u64>>);

impl Ranges {
    /// Adds a number. One that is not above all others is left out: nothing overtakes in memory.
    pub fn insert(&mut self, number: u64) {
        match self.0.last_mut() {
            Some(last) if *last.end() + 1 == number => *last = *last.start()..=number,
            Some(last) if *last.end() >= number => {}
            _ => {
                if self.0.len() == RANGES_MAX {
                    self.0.remove(0);
                }
                self.0.push(number..=number);
            }
        }
    }

    /// The number after the largest one.
    pub fn expected(&self) -> u64 {
        self.0.last().map_or(0, |last| last.end() + 1)
    }

    /// The ranges, the newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &RangeInclusive<u64>> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_range_and_old_ranges_go() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.expected(), 0);
        for number in [3, 4, 4, 6, 8, 10, 12, 13] {
            ranges.insert(number);
        }
        assert_eq!(ranges.expected(), 14);
        assert_eq!(ranges.newest_first().cloned().collect::<Vec<_>>(), [12..=13, 10..=10, 8..=8, 6..=6]);
    }
}
