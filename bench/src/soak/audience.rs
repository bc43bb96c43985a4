//! Viewers that watch for a while, leave, and are followed by others.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::viewers::{Faults, Watched, check, watch_for};
use crate::viewing::Broadcast;

/// Shortest and longest visit.
const STAY_S: std::ops::Range<u64> = 15..45;
/// Different reasons of failed viewers that are told.
const REASONS_MAX: usize = 5;

/// What all viewers so far have seen.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Viewers that came.
    pub came: u64,
    /// Viewers that saw all of their broadcast while they were there.
    fine: u64,
    /// Objects that came.
    objects: u64,
    failed: u64,
    faulty: u64,
    reasons: Vec<String>,
}

impl Tally {
    /// Viewers that failed or missed something.
    pub fn wrong(&self) -> u64 {
        self.failed + self.faulty
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let Self { came, fine, objects, failed, faulty, .. } = self;
        json!({ "came": came, "fine": fine, "objects": objects, "failed": failed, "missed_something": faulty })
    }

    /// For people.
    pub fn words(&self) -> String {
        let Self { came, fine, objects, failed, faulty, .. } = self;
        format!("{came} came, {fine} saw everything ({objects} objects), {faulty} missed something, {failed} failed")
    }

    /// What was wrong.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.reasons.iter().cloned()
    }

    fn take(&mut self, watched: Result<Watched, BenchError>, film: &[u64]) {
        let why = match watched {
            Ok(watched) => {
                let video = check(&[&watched.video], film);
                let audio =
                    if watched.audio.groups.is_empty() { Faults::default() } else { check(&[&watched.audio], &[]) };
                self.objects += watched.video.objects() + watched.audio.objects();
                if video.none() && audio.none() {
                    self.fine += 1;
                    return;
                }
                self.faulty += 1;
                format!("a viewer's video: {}; audio: {}", video.words(), audio.words())
            }
            Err(error) => {
                self.failed += 1;
                format!("a viewer failed: {error}")
            }
        };
        if self.reasons.len() < REASONS_MAX && !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }
}

/// The viewers that are there, and what those who left have told.
#[derive(Debug)]
pub struct Audience {
    film: Vec<u64>,
    viewers: u32,
    broadcasts: Vec<Broadcast>,
    there: JoinSet<Result<Watched, BenchError>>,
    tally: Tally,
}

impl Audience {
    /// Nobody yet; `film` are the lengths of the film's groups.
    pub fn new(film: Vec<u64>, viewers: u32) -> Self {
        Self { film, viewers, broadcasts: Vec::new(), there: JoinSet::new(), tally: Tally::default() }
    }

    /// What those who come from now on watch, in turn.
    pub fn offer(&mut self, broadcasts: Vec<Broadcast>) {
        self.broadcasts = broadcasts;
    }

    /// Lets viewers in until all places are taken.
    pub fn fill(&mut self) {
        while self.there.len() < self.viewers as usize {
            let number = self.tally.came;
            let turn = usize::try_from(number).unwrap_or_default().checked_rem(self.broadcasts.len());
            let Some(broadcast) = turn.and_then(|turn| self.broadcasts.get(turn)) else { return };
            self.tally.came += 1;
            // Lengths of visits that share no rhythm with the groups.
            let stay = STAY_S.start + number * 7 % (STAY_S.end - STAY_S.start);
            self.there.spawn(watch_for(broadcast.clone(), Duration::from_secs(stay)));
        }
    }

    /// Waits until a viewer has left, and takes down what it saw.
    pub async fn someone_left(&mut self) {
        match self.there.join_next().await {
            Some(Ok(watched)) => self.tally.take(watched, &self.film),
            Some(Err(_)) => self.tally.take(Err(BenchError::Died("viewer")), &self.film),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have left.
    pub async fn leave(&mut self) {
        while !self.there.is_empty() {
            self.someone_left().await;
        }
    }

    /// What was seen so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}
