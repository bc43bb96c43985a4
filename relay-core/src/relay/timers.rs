//! Alarms of sessions and tracks, in the order they are due.

use std::collections::BTreeSet;
use std::time::Instant;

use super::SessionId;
use super::keys::TrackKey;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    Session(SessionId),
    Track(TrackKey),
    Sweep,
}

/// Alarms in the order they are due. Each session and track has one, the earliest; when it rings, everything that is due there
/// is done and the next one is set, so that nobody can pile up timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Alarm)>,
    sweeping: bool,
}

impl Timers {
    /// Sets an alarm that is not set, or is set for `before`. An earlier time than that counts, a later one does not:
    /// whoever rings too early is set again.
    pub(crate) fn set(&mut self, before: &mut Option<Instant>, at: Instant, alarm: Alarm) {
        if before.is_none_or(|before| at < before) {
            self.unset(before.replace(at), alarm);
            self.queue.insert((at, alarm));
        }
    }

    pub(crate) fn unset(&mut self, before: Option<Instant>, alarm: Alarm) {
        if let Some(before) = before {
            self.queue.remove(&(before, alarm));
        }
    }

    /// When the first of them rings.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Alarm> {
        if self.earliest().is_none_or(|at| at > now) {
            return None;
        }
        self.queue.pop_first().map(|(_, alarm)| alarm)
    }

    /// Sets the alarm of the sweep, unless it is set.
    pub(crate) fn set_sweep(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.sweeping, true) {
            self.queue.insert((at, Alarm::Sweep));
        }
    }

    /// The sweep's alarm has rung.
    pub(crate) fn swept(&mut self) {
        self.sweeping = false;
    }
}
