//! What was sent and what was seen of it.

use std::collections::HashMap;
use std::time::Instant;

use crate::error::BenchError;
use crate::film::{Film, Picture};
use crate::publisher::Sent;
use crate::report::Times;

/// A coded picture at a viewer.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Which.
    pub picture: Picture,
    /// When it was whole.
    pub at: Instant,
}

/// What viewers got of the frames that were sent in one window.
#[derive(Debug)]
pub struct Delivery {
    /// Groups that were sent and watched: each counts once a viewer.
    pub groups: u64,
    /// Of these, groups of which a viewer did not get every frame.
    pub groups_lost: u64,
    /// Frames that viewers did not get.
    pub frames_missing: u64,
    /// From the RTMP message to the whole object.
    pub times: Times,
}

/// Matches what `viewers` saw to the frames that were `sent` between `from` and `to`. Frames are told by their bytes, which come
/// again with every pass through the film: the newest sent one that this viewer has not had is meant.
///
/// # Errors
/// [`BenchError::Histogram`].
pub fn deliver(
    film: &Film,
    sent: &[Sent],
    (from, to): (Instant, Instant),
    viewers: &[Vec<Sight>],
) -> Result<Delivery, BenchError> {
    let frame = |sent: &Sent| film.frames.get(sent.frame);
    let mut sends: HashMap<Picture, Vec<usize>> = HashMap::new();
    let mut group_of = Vec::with_capacity(sent.len());
    let mut groups = 0usize;
    for (index, one) in sent.iter().enumerate() {
        if let Some(frame) = frame(one) {
            sends.entry(frame.picture).or_default().push(index);
            groups += usize::from(frame.key);
        }
        group_of.push(groups);
    }
    let owed: Vec<usize> =
        (0..group_of.len()).filter(|index| sent.get(*index).is_some_and(|one| one.at >= from && one.at < to)).collect();
    let mut delivery = Delivery { groups: 0, groups_lost: 0, frames_missing: 0, times: Times::new()? };
    for sights in viewers {
        let mut seen = vec![false; group_of.len()];
        for sight in sights {
            let before = |index: &&usize| {
                let is_later = sent.get(**index).is_none_or(|one| one.at > sight.at);
                !is_later && !seen.get(**index).copied().unwrap_or(true)
            };
            let found = sends.get(&sight.picture).and_then(|indices| indices.iter().rev().find(before)).copied();
            let Some((index, one)) = found.and_then(|index| Some((index, sent.get(index)?))) else { continue };
            if let Some(seen) = seen.get_mut(index) {
                *seen = true;
            }
            if one.at >= from && one.at < to {
                delivery.times.record(sight.at.saturating_duration_since(one.at));
            }
        }
        let (mut last_group, mut last_lost) = (None, None);
        for index in &owed {
            let group = group_of.get(*index);
            delivery.groups += u64::from(last_group != group);
            last_group = group;
            if seen.get(*index) == Some(&false) {
                delivery.frames_missing += 1;
                delivery.groups_lost += u64::from(last_lost != group);
                last_lost = group;
            }
        }
    }
    Ok(delivery)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::film::Frame;

    /// Groups of three frames, of which the second and third look alike.
    fn film() -> Film {
        let frame = |number: u8| Frame { key: number == 0, picture: Picture::of(&[number.min(1)]) };
        let mut frames: Vec<Frame> = (0..3).map(frame).collect();
        frames.extend((0..3).map(|number| Frame { picture: Picture::of(&[10 + number]), ..frame(number) }));
        Film { tags: Vec::new(), frames, duration_ms: 240 }
    }

    fn sent(start: Instant, passes: u64) -> Vec<Sent> {
        let at = |frame: u64| start + Duration::from_millis(40 * frame);
        (0..6 * passes).map(|frame| Sent { frame: (frame % 6) as usize, dts_ms: 40 * frame, at: at(frame) }).collect()
    }

    fn sights(film: &Film, sent: &[Sent]) -> Vec<Sight> {
        let late = Duration::from_millis(3);
        sent.iter().map(|one| Sight { picture: film.frames[one.frame].picture, at: one.at + late }).collect()
    }

    #[test]
    fn what_everybody_saw_is_timed_and_nothing_is_missing() {
        let (film, start) = (film(), Instant::now());
        let sent = sent(start, 3);
        let all = sights(&film, &sent);
        let window = (start + Duration::from_millis(240), start + Duration::from_millis(480));
        let delivery = deliver(&film, &sent, window, &[all.clone(), all]).unwrap();
        assert_eq!((delivery.groups, delivery.groups_lost, delivery.frames_missing), (4, 0, 0));
        assert!((delivery.times.quantile_ms(0.99) - 3.0).abs() < 0.1);
        assert_eq!(delivery.times.json()["samples"], 12);
    }

    #[test]
    fn a_frame_that_one_viewer_missed_costs_it_that_group() {
        let (film, start) = (film(), Instant::now());
        let sent = sent(start, 2);
        let all = sights(&film, &sent);
        let mut holed = all.clone();
        // One of the two that look alike, one of another group, and two of one group.
        for gone in [10, 9, 7, 1] {
            holed.remove(gone);
        }
        let window = (start, start + Duration::from_secs(1));
        let delivery = deliver(&film, &sent, window, &[all, holed]).unwrap();
        assert_eq!((delivery.groups, delivery.groups_lost, delivery.frames_missing), (8, 3, 4));
        let nobody = deliver(&film, &sent, window, &[Vec::new()]).unwrap();
        assert_eq!((nobody.groups_lost, nobody.frames_missing), (4, 12));
    }
}
