//! Group ids.

/// Gives out group ids that grow over the broadcast, over reconnects of the encoder and over restarts of the engine: at least
/// the Unix time in milliseconds, and always more than the last. All tracks of a broadcast draw from the same.
#[derive(Debug)]
pub struct GroupIds {
    next_min: u64,
    last: Option<u64>,
}

impl GroupIds {
    /// No id below `first_min` is given out.
    pub fn new(first_min: u64) -> Self {
        Self { next_min: first_min, last: None }
    }

    pub fn next(&mut self, unix_ms: u64) -> u64 {
        let id = self.next_min.max(unix_ms);
        self.next_min = id.saturating_add(1);
        self.last = Some(id);
        id
    }

    pub fn last(&self) -> Option<u64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_clock_and_grow_when_the_clock_does_not() {
        let mut ids = GroupIds::new(500);
        assert_eq!(
            [ids.next(100), ids.next(1000), ids.next(1000), ids.next(900), ids.next(2000)],
            [500, 1000, 1001, 1002, 2000]
        );
        assert_eq!(ids.last(), Some(2000));
    }
}
