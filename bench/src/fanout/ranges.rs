//! Packet numbers that were received, as ranges.

use std::ops::RangeInclusive;

/// Ranges that are kept of packets in memory: nothing is lost there, so what lies further back was acknowledged many times. A
/// gap is a number that the sender has left out on purpose.
pub const RANGES_IN_MEMORY: usize = 4;
/// Ranges that are kept of packets from a socket, where one may be lost or overtaken.
pub const RANGES_ON_THE_WIRE: usize = 32;

/// The newest ranges of packet numbers, ascending. No two touch.
#[derive(Debug)]
pub struct Ranges {
    ranges: Vec<RangeInclusive<u64>>,
    ranges_max: usize,
}

impl Ranges {
    /// None yet, and never more than `ranges_max`.
    pub fn new(ranges_max: usize) -> Self {
        Self { ranges: Vec::with_capacity(ranges_max + 1), ranges_max }
    }

    /// Adds a number. One that lies before all ranges when there is no room for one more is left out.
    pub fn insert(&mut self, number: u64) {
        // Nearly every number follows the largest one.
        match self.ranges.last_mut() {
            Some(last) if *last.end() + 1 == number => {
                *last = *last.start()..=number;
                return;
            }
            Some(last) if number <= *last.end() => {}
            _ => return self.insert_at(self.ranges.len(), number),
        }
        // The first range that ends at or behind the number before this one.
        let at = self.ranges.partition_point(|range| *range.end() + 1 < number);
        let next = self.ranges.get(at + 1).map(|range| *range.start());
        let Some(range) = self.ranges.get_mut(at) else { return };
        if range.contains(&number) {
            return;
        }
        if *range.end() + 1 == number {
            let joins = next == Some(number + 1);
            *range = *range.start()..=number;
            if joins {
                let end = *self.ranges.remove(at + 1).end();
                if let Some(range) = self.ranges.get_mut(at) {
                    *range = *range.start()..=end;
                }
            }
        } else if *range.start() == number + 1 {
            *range = number..=*range.end();
        } else {
            self.insert_at(at, number);
        }
    }

    fn insert_at(&mut self, at: usize, number: u64) {
        self.ranges.insert(at, number..=number);
        if self.ranges.len() > self.ranges_max {
            self.ranges.remove(0);
        }
    }

    /// The number after the largest one.
    pub fn expected(&self) -> u64 {
        self.ranges.last().map_or(0, |last| last.end() + 1)
    }

    /// The ranges, the newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &RangeInclusive<u64>> {
        self.ranges.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Vec<RangeInclusive<u64>> {
        let mut ranges = Ranges::new(4);
        numbers.iter().for_each(|number| ranges.insert(*number));
        ranges.newest_first().cloned().collect()
    }

    #[test]
    fn numbers_in_a_row_are_one_range_and_old_ranges_go() {
        let mut ranges = Ranges::new(4);
        assert_eq!(ranges.expected(), 0);
        for number in [3, 4, 4, 6, 8, 10, 12, 13] {
            ranges.insert(number);
        }
        assert_eq!(ranges.expected(), 14);
        assert_eq!(ranges.newest_first().cloned().collect::<Vec<_>>(), [12..=13, 10..=10, 8..=8, 6..=6]);
    }

    #[test]
    fn a_number_that_was_overtaken_finds_its_place() {
        assert_eq!(of(&[1, 3, 2]), [1..=3]);
        assert_eq!(of(&[1, 4, 2]), [4..=4, 1..=2]);
        assert_eq!(of(&[1, 4, 3]), [3..=4, 1..=1]);
        assert_eq!(of(&[1, 9, 5]), [9..=9, 5..=5, 1..=1]);
        assert_eq!(of(&[5, 9, 1]), [9..=9, 5..=5, 1..=1]);
        assert_eq!(of(&[3, 5, 7, 9, 1]), [9..=9, 7..=7, 5..=5, 3..=3]);
        assert_eq!(of(&[2, 1, 2, 1]), [1..=2]);
    }
}
