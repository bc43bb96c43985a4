//! What all viewers got of the objects in the window that is measured.

use std::time::Instant;

use super::broadcast::Sent;
use crate::error::BenchError;
use crate::report::Times;

/// Different faults that are told.
const FAULTS_MAX: usize = 5;

/// Counts from when a window opens.
#[derive(Debug)]
pub struct Tally {
    /// The objects that count, by number: from, and to before.
    window: std::ops::Range<u64>,
    /// Objects of the window that tracked viewers got whole.
    pub objects: u64,
    /// From publishing such an object to its last byte.
    pub times: Times,
    /// Bytes that were compared with what was published, at any time.
    pub compared: u64,
    /// What was wrong, at any time; each once.
    pub faults: Vec<&'static str>,
    /// How often something was.
    pub faults_count: u64,
}

impl Tally {
    /// No window is open.
    ///
    /// # Errors
    /// [`BenchError::Histogram`].
    pub fn new() -> Result<Self, BenchError> {
        let (times, faults) = (Times::new()?, Vec::new());
        Ok(Self { window: 0..0, objects: 0, times, compared: 0, faults, faults_count: 0 })
    }

    /// Objects count from this number on.
    pub fn open(&mut self, first: u64) {
        self.window = first..u64::MAX;
    }

    /// Objects count up to before this number; those that are still on their way do.
    pub fn close(&mut self, end: u64) {
        self.window.end = end;
    }

    /// A tracked viewer has all of an object.
    pub fn delivered(&mut self, object: &Sent, at: Instant) {
        if self.window.contains(&object.number) {
            self.objects += 1;
            self.times.record(at.saturating_duration_since(object.at));
        }
    }

    /// Something is not as it has to be.
    pub fn fault(&mut self, words: &'static str) {
        self.faults_count += 1;
        if self.faults.len() < FAULTS_MAX && !self.faults.contains(&words) {
            self.faults.push(words);
        }
    }
}
