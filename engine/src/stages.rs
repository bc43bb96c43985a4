//! Where a shard's time goes, stage by stage, for whoever measures it. Off unless asked for on the shard's own thread: then a
//! stage costs one look at a thread-local flag.
//!
//! Time is counted once: what a stage spends in one that it calls is that one's alone.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// A stage of the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Everything that no other stage claims: receiving, timers, housekeeping, and the clock reads themselves.
    Rest,
    /// The relay decides what a session sends next.
    Pump,
    /// quiche takes stream data.
    Write,
    /// quiche takes in a datagram: acknowledgements mostly.
    Recv,
    /// quiche makes a packet and seals it.
    Seal,
    /// The backend takes a train.
    Backend,
}

impl Stage {
    /// Number of stages.
    pub const COUNT: usize = 6;
    /// Every stage with its name.
    pub const ALL: [(Self, &'static str); Self::COUNT] = [
        (Self::Rest, "rest"),
        (Self::Pump, "relay pump"),
        (Self::Write, "quiche stream write"),
        (Self::Recv, "quiche recv"),
        (Self::Seal, "quiche packetise and seal"),
        (Self::Backend, "backend"),
    ];
}

struct Split {
    stage: Stage,
    since: Instant,
    spent: [Duration; Stage::COUNT],
}

impl Split {
    /// What passed belongs to the stage that ran; `next` runs from now on. Gives the one before.
    fn switch(&mut self, next: Stage) -> Stage {
        let now = Instant::now();
        if let Some(spent) = self.spent.get_mut(self.stage as usize) {
            *spent += now.saturating_duration_since(self.since);
        }
        self.since = now;
        std::mem::replace(&mut self.stage, next)
    }
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static SPLIT: RefCell<Option<Split>> = const { RefCell::new(None) };
}

fn switch(next: Stage) -> Stage {
    SPLIT.with_borrow_mut(|split| split.as_mut().map_or(Stage::Rest, |split| split.switch(next)))
}

/// Runs a step as part of `stage`.
#[inline]
pub(crate) fn timed<R>(stage: Stage, step: impl FnOnce() -> R) -> R {
    if !ON.get() {
        return step();
    }
    let before = switch(stage);
    let result = step();
    switch(before);
    result
}

/// Runs a step of this thread (a turn) and adds what its stages took to `spent`, indexed by [`Stage`].
pub fn split<R>(spent: &mut [Duration; Stage::COUNT], step: impl FnOnce() -> R) -> R {
    SPLIT.set(Some(Split { stage: Stage::Rest, since: Instant::now(), spent: *spent }));
    ON.set(true);
    let result = step();
    ON.set(false);
    switch(Stage::Rest);
    if let Some(split) = SPLIT.take() {
        *spent = split.spent;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_stage_inside_another_is_counted_once_and_nothing_is_lost() {
        let (ms, mut spent) = (Duration::from_millis, [Duration::ZERO; Stage::COUNT]);
        let began = Instant::now();
        split(&mut spent, || {
            timed(Stage::Pump, || {
                spin(ms(2));
                timed(Stage::Write, || spin(ms(4)));
            });
            timed(Stage::Seal, || spin(ms(3)));
        });
        let whole = began.elapsed();
        assert!(spent[Stage::Pump as usize] >= ms(2) && spent[Stage::Write as usize] >= ms(4));
        assert!(spent[Stage::Seal as usize] >= ms(3));
        assert_eq!(spent[Stage::Backend as usize], Duration::ZERO);
        assert!(spent.iter().sum::<Duration>() <= whole);
    }

    #[test]
    fn nothing_is_counted_when_nobody_measures() {
        timed(Stage::Seal, || spin(Duration::from_millis(1)));
        let mut spent = [Duration::ZERO; Stage::COUNT];
        split(&mut spent, || ());
        assert_eq!(spent[Stage::Seal as usize], Duration::ZERO);
    }
}
