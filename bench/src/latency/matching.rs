//! Which object is which message.
//!
//! A group is found by the time of its key frame, an object by its place in the group; then time and content must agree too:
//!
//! ```text
//!   sent      K0 f f f   K1 f f f   K2 f ...          dts_ms, grows over the passes through the film
//!   received             g  1 2 3   g' 1 ...          tfdt / 90 + offset = dts_ms
//! ```
//!
//! The offset is found once, by content: the first whole group begins with the newest key frame of that content that had been
//! sent by then. The film repeats, so content alone is not enough, and its length bounds how old an object can be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::film::{Film, Picture};
use crate::publisher::Sent;

/// Ticks of the video timescale in a millisecond.
const TICKS_PER_MS: u64 = 90;

/// An object of the video track as a viewer got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Group id.
    pub group: u64,
    /// Object id.
    pub object: u64,
    /// Decoding time in the chunk, ticks; `None` when it is no chunk.
    pub tfdt: Option<u64>,
    /// The picture in the chunk.
    pub picture: Picture,
    /// When its last byte was read.
    pub arrival: Instant,
}

/// A message and the object that it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// When the message was sent.
    pub sent: Instant,
    /// From then until the object was whole.
    pub time: Duration,
    /// It is a key frame.
    pub key: bool,
}

/// What one viewer's objects turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Every object with its message.
    pub times: Vec<Match>,
    /// Objects that are no message that was sent: wrong place, time or content.
    pub unmatched: u64,
    /// Messages sent after the first that was matched, of which no object came.
    pub missing: u64,
    /// Objects that came again.
    pub duplicates: u64,
}

/// Matches what one viewer got, group by group. The group in which the viewer joined is left out: part of it came from a cache.
pub fn match_objects(film: &Film, sent: &[Sent], received: &[Received]) -> Matched {
    let mut matched = Matched::default();
    let mut groups: BTreeMap<u64, BTreeMap<u64, &Received>> = BTreeMap::new();
    for object in received {
        if groups.entry(object.group).or_default().insert(object.object, object).is_some() {
            matched.duplicates += 1;
        }
    }
    groups.pop_first();
    let Some(first) = groups.values().next().and_then(|group| group.get(&0)) else { return matched };
    let Some(offset_ms) = offset_ms(film, sent, first) else {
        matched.unmatched = groups.values().map(|group| group.len() as u64).sum();
        return matched;
    };
    let mut seen = vec![false; sent.len()];
    for group in groups.values() {
        match_group(film, sent, offset_ms, group, &mut seen, &mut matched);
    }
    let first = seen.iter().position(|seen| *seen).unwrap_or(seen.len());
    matched.missing = seen.iter().skip(first).filter(|seen| !**seen).count() as u64;
    matched
}

/// What to add to an object's time to get the message's.
fn offset_ms(film: &Film, sent: &[Sent], first: &Received) -> Option<i64> {
    let received_ms = time_ms(first)?;
    let is_it = |message: &&Sent| {
        let frame = film.frames.get(message.frame);
        message.at <= first.arrival && frame.is_some_and(|frame| frame.key && frame.picture == first.picture)
    };
    let message = sent.iter().rev().find(is_it)?;
    i64::try_from(message.dts_ms).ok()?.checked_sub(received_ms)
}

/// An object's decoding time in whole milliseconds, as RTMP has them; `None` when it has none.
fn time_ms(object: &Received) -> Option<i64> {
    let tfdt = object.tfdt.filter(|tfdt| tfdt.is_multiple_of(TICKS_PER_MS))?;
    i64::try_from(tfdt / TICKS_PER_MS).ok()
}

fn match_group(
    film: &Film,
    sent: &[Sent],
    offset_ms: i64,
    group: &BTreeMap<u64, &Received>,
    seen: &mut [bool],
    matched: &mut Matched,
) {
    let message_ms = |object: &Received| u64::try_from(time_ms(object)?.checked_add(offset_ms)?).ok();
    let start = group.get(&0).and_then(|object| message_ms(object)).and_then(|dts_ms| {
        let index = sent.binary_search_by_key(&dts_ms, |message| message.dts_ms).ok()?;
        film.frames.get(sent.get(index)?.frame).filter(|frame| frame.key).map(|_| index)
    });
    let Some(start) = start else {
        matched.unmatched += group.len() as u64;
        return;
    };
    for (id, object) in group {
        let index = usize::try_from(*id).ok().and_then(|id| start.checked_add(id));
        let message = index.and_then(|index| Some((index, sent.get(index)?)));
        let found = message.and_then(|(index, message)| {
            let frame = film.frames.get(message.frame)?;
            let time = object.arrival.checked_duration_since(message.at)?;
            let fits = message_ms(object) == Some(message.dts_ms)
                && frame.picture == object.picture
                && frame.key == (*id == 0)
                && time < Duration::from_millis(film.duration_ms);
            fits.then_some((index, Match { sent: message.at, time, key: frame.key }))
        });
        match found {
            Some((index, pair)) => {
                matched.times.push(pair);
                if let Some(seen) = seen.get_mut(index) {
                    *seen = true;
                }
            }
            None => matched.unmatched += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::film::Frame;

    const GROUP_LEN: usize = 3;
    /// Two groups a pass.
    const FRAMES: usize = 6;
    const STEP_MS: u64 = 40;
    /// What an object's time lacks.
    const OFFSET_MS: u64 = 1000;

    fn film() -> Film {
        let frame = |index: usize| Frame { key: index.is_multiple_of(GROUP_LEN), picture: Picture::of(&[index as u8]) };
        Film { tags: Vec::new(), frames: (0..FRAMES).map(frame).collect(), duration_ms: FRAMES as u64 * STEP_MS }
    }

    /// Three passes, and each object 2 ms later; object times lack the offset.
    fn story() -> (Film, Vec<Sent>, Vec<Received>) {
        let (film, began) = (film(), Instant::now());
        let sent: Vec<Sent> = (0..3 * FRAMES)
            .map(|index| {
                let dts_ms = OFFSET_MS + index as u64 * STEP_MS;
                Sent { frame: index % FRAMES, dts_ms, at: began + Duration::from_millis(dts_ms) }
            })
            .collect();
        let receive = |(index, message): (usize, &Sent)| Received {
            group: 500 + (index / GROUP_LEN) as u64 * 7,
            object: (index % GROUP_LEN) as u64,
            tfdt: Some((message.dts_ms - OFFSET_MS) * TICKS_PER_MS),
            picture: film.frames[message.frame].picture,
            arrival: message.at + Duration::from_millis(2),
        };
        let received = sent.iter().enumerate().map(receive).collect();
        (film, sent, received)
    }

    #[test]
    fn every_object_behind_the_joined_group_finds_its_message() {
        let (film, sent, received) = story();
        // Joined in the second group.
        let matched = match_objects(&film, &sent, &received[GROUP_LEN + 1..]);
        assert_eq!(matched.times.len(), sent.len() - 2 * GROUP_LEN);
        assert!(matched.times.iter().all(|pair| pair.time == Duration::from_millis(2)));
        assert_eq!(matched.times.iter().filter(|pair| pair.key).count(), 4);
        assert_eq!((matched.unmatched, matched.missing, matched.duplicates), (0, 0, 0));
    }

    #[test]
    fn a_lost_object_is_missing_and_does_not_shift_the_others() {
        let (film, sent, mut received) = story();
        received.remove(2 * GROUP_LEN + 1);
        received.truncate(received.len() - 1);
        let matched = match_objects(&film, &sent, &received);
        assert_eq!((matched.unmatched, matched.missing, matched.duplicates), (0, 2, 0));
        assert!(matched.times.iter().all(|pair| pair.time == Duration::from_millis(2)));
    }

    #[test]
    fn another_content_time_or_place_does_not_match() {
        let (film, sent, received) = story();
        let changes: [fn(&mut Received); 4] = [
            |object| object.picture = Picture::of(b"another"),
            |object| object.tfdt = object.tfdt.map(|tfdt| tfdt + TICKS_PER_MS),
            |object| object.tfdt = object.tfdt.map(|tfdt| tfdt + 1),
            |object| object.tfdt = None,
        ];
        for change in changes {
            let mut received = received.clone();
            change(&mut received[3 * GROUP_LEN + 1]);
            let matched = match_objects(&film, &sent, &received);
            assert_eq!((matched.unmatched, matched.missing), (1, 1));
        }
    }

    #[test]
    fn an_object_cannot_come_before_its_message_or_a_film_later() {
        let (film, sent, received) = story();
        let changes: [fn(&mut Received); 2] = [
            |object| object.arrival -= Duration::from_millis(3),
            |object| object.arrival += Duration::from_millis(FRAMES as u64 * STEP_MS),
        ];
        for change in changes {
            let mut received = received.clone();
            change(&mut received[2 * GROUP_LEN + 1]);
            assert_eq!(match_objects(&film, &sent, &received).unmatched, 1);
        }
    }

    #[test]
    fn an_object_that_comes_twice_is_counted() {
        let (film, sent, mut received) = story();
        received.push(received[7]);
        assert_eq!(match_objects(&film, &sent, &received).duplicates, 1);
    }
}
