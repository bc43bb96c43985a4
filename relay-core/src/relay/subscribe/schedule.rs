//! What a session sends next of its subscriptions and fetches.
//!
//! By subscriber priority, publisher priority, and within one request by group order and subgroup (MoQT-18 §7.2). Requests of
//! equal priorities share by bytes (start-time fair queueing): the one that has got the least goes first, over all pumps, so
//! that neither large video frames nor many small audio ones starve the other; one that was idle starts from where the others
//! are.

use std::time::{Duration, Instant};

use crate::relay::Counters;
use crate::relay::cache::GroupCache;
use crate::relay::keys::{FetchKey, SubscriptionKey};
use crate::relay::session::Session;
use crate::relay::track::{Track, Tracks};
use crate::transmit::Transmit;
use crate::wire::{GroupOrder, StreamResetCode};

use super::fetch_out::FetchSource;
use super::out_stream::{SendContext, Step};
use super::pull::{Pull, Pulls};
use super::subscription::Subscription;

/// The most urgent of all data; control and request streams go before it.
const URGENCY_DATA: u8 = 2;

/// Who a candidate belongs to; requests of one session are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Subscription(SubscriptionKey),
    Fetch(FetchKey),
}

/// Something that may be sent; ordered as it is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    subscriber_priority: u8,
    publisher_priority: u8,
    owner: Owner,
    group_rank: u64,
    subgroup: u64,
    stream: usize,
    spent: bool,
}

impl Candidate {
    fn urgency(&self) -> u8 {
        // Transports know one byte: the upper halves of both priorities, below control and requests.
        ((self.subscriber_priority & 0xF0) | (self.publisher_priority >> 4)).max(URGENCY_DATA)
    }
}

/// What a session's data is sent with.
pub(crate) struct Pump<'a> {
    pub(crate) tracks: &'a Tracks,
    pub(crate) pulls: &'a mut Pulls,
    pub(crate) counters: &'a mut Counters,
    pub(crate) now: Instant,
    /// Our own delivery timeout.
    pub(crate) timeout: Duration,
    pub(crate) io: &'a mut dyn Transmit,
}

/// Sends data as long as the transport takes it; `true` when something is left.
pub(crate) fn pump_data(session: &mut Session, candidates: &mut Vec<Candidate>, pump: &mut Pump<'_>) -> bool {
    collect(session, candidates, pump);
    candidates.sort_unstable();
    let mut blocked = false;
    let mut rest = candidates.as_mut_slice();
    while let Some(first) = rest.first() {
        let priorities = (first.subscriber_priority, first.publisher_priority);
        let same = rest.iter().take_while(|c| (c.subscriber_priority, c.publisher_priority) == priorities).count();
        let (run, later) = rest.split_at_mut(same);
        while turn(session, run, &mut blocked, pump) {}
        rest = later;
    }
    for (_, subscription) in session.subscriptions.iter_mut() {
        subscription.sweep();
        subscription.ready |= blocked && !subscription.streams.is_empty();
    }
    blocked
}

/// Finds everything that may be sent.
fn collect(session: &mut Session, candidates: &mut Vec<Candidate>, pump: &mut Pump<'_>) {
    candidates.clear();
    for (key, subscription) in session.subscriptions.iter_mut() {
        for (stream, code) in subscription.resets.drain(..) {
            pump.io.reset(stream, code);
        }
        let Some(track) = pump.tracks.get(subscription.track).filter(|_| subscription.ready) else { continue };
        subscription.ready = false;
        subscription.discover(&track.cache);
        for (index, stream) in subscription.streams.iter().enumerate() {
            if stream.is_ready(&track.cache) {
                candidates.push(Candidate {
                    subscriber_priority: subscription.priority,
                    publisher_priority: stream.priority,
                    owner: Owner::Subscription(key),
                    group_rank: match subscription.order {
                        GroupOrder::Ascending => stream.group,
                        GroupOrder::Descending => u64::MAX - stream.group,
                    },
                    subgroup: stream.subgroup,
                    stream: index,
                    spent: false,
                });
            }
        }
    }
    for (key, fetch) in session.fetches.iter() {
        let idle = match fetch.source {
            FetchSource::Cache(..) => false,
            FetchSource::Pull(pull) => pump.pulls.get(pull).is_none_or(Pull::is_idle) && fetch.is_idle(),
        };
        if !fetch.done && !idle {
            candidates.push(Candidate {
                subscriber_priority: fetch.priority,
                publisher_priority: fetch.publisher_priority,
                owner: Owner::Fetch(key),
                group_rank: 0,
                subgroup: 0,
                stream: 0,
                spent: false,
            });
        }
    }
}

/// Among candidates of equal priorities, the owner that has got the least sends one object. `false` when none can.
fn turn(session: &mut Session, run: &mut [Candidate], blocked: &mut bool, pump: &mut Pump<'_>) -> bool {
    let waiting = run.iter_mut().filter(|candidate| !candidate.spent);
    // Of one owner's streams the first counts: `min_by_key` keeps the earliest of equals.
    let Some(candidate) = waiting.min_by_key(|candidate| session.share(candidate.owner)) else { return false };
    session.virtual_time = session.share(candidate.owner).max(session.virtual_time);
    let step = match candidate.owner {
        Owner::Subscription(key) => send_object(session, key, candidate, pump),
        Owner::Fetch(key) => send_fetched(session, key, candidate.urgency(), pump),
    };
    candidate.spent = step != Step::Sent;
    *blocked |= step == Step::Blocked;
    true
}

impl Session {
    /// Bytes that an owner has got, in the session's virtual time.
    fn share(&self, owner: Owner) -> u64 {
        match owner {
            Owner::Subscription(key) => self.subscriptions.get(key).map_or(0, |subscription| subscription.served),
            Owner::Fetch(key) => self.fetches.get(key).map_or(0, |fetch| fetch.served),
        }
    }
}

fn send_object(session: &mut Session, key: SubscriptionKey, candidate: &Candidate, pump: &mut Pump<'_>) -> Step {
    let Pump { tracks, counters, now, timeout, io, .. } = pump;
    let draft = session.draft();
    let virtual_time = session.virtual_time;
    let wake_at = &mut session.wake_at;
    let Some(subscription) = session.subscriptions.get_mut(key) else { return Step::Idle };
    let Some(track) = tracks.get(subscription.track) else { return Step::Idle };
    let context = SendContext {
        now: *now,
        draft,
        alias: subscription.alias,
        urgency: candidate.urgency(),
        timeout: effective_timeout(track, subscription, *timeout),
    };
    let Subscription { streams, opened, served, .. } = subscription;
    let Some(stream) = streams.get_mut(candidate.stream) else { return Step::Idle };
    let before = stream.written;
    let step = stream.send(&context, &track.cache, opened, counters, *io);
    *served = (*served).max(virtual_time).saturating_add(stream.written.saturating_sub(before));
    *wake_at = [*wake_at, stream.reset_due].into_iter().flatten().min();
    match step {
        Step::Late | Step::Behind => {
            let late = step == Step::Late;
            let code = if late { StreamResetCode::DeliveryTimeout } else { StreamResetCode::TooFarBehind };
            let (group, was_open, begun) = (stream.group, stream.stream.is_some(), stream.written > 0);
            if track.cache.newest_group() == Some(group) {
                // The group may end soon, and the next one be whole; a viewer whose place was evicted is in none that does.
                let wait = if late { context.timeout.unwrap_or_default() } else { Duration::ZERO };
                stream.lose_place(now.checked_add(wait).unwrap_or(*now), code.to_u64(), *io);
            } else {
                stream.reset(code.to_u64(), *io);
            }
            // One that was begun and has no stream had sent all there was, and waited for a subgroup to be taken up again.
            if late || was_open || !begun {
                counters.groups_dropped += subscription.drop_group(group);
            }
            if late || was_open {
                counters.groups_dropped += jump_from(subscription, group, &track.cache, *io);
            }
        }
        _ => {}
    }
    step
}

/// A viewer that is too slow for `group` goes on with the newest one. Gives the groups that count as dropped by it.
fn jump_from(subscription: &mut Subscription, group: u64, cache: &GroupCache, io: &mut dyn Transmit) -> u64 {
    match cache.newest_group().filter(|newest| *newest > group) {
        Some(newest) => subscription.jump(newest, cache, io),
        None => 0,
    }
}

/// The smallest of our own, the publisher's and the subscriber's OBJECT_DELIVERY_TIMEOUT (MoQT-18 §8); ours does not hold
/// for the few objects that a viewer cannot do without.
fn effective_timeout(track: &Track, subscription: &Subscription, ours: Duration) -> Option<Duration> {
    let ours = if track.pinned || ours.is_zero() { None } else { Some(ours) };
    [ours, track.timeout, subscription.timeout].into_iter().flatten().min()
}

fn send_fetched(session: &mut Session, key: FetchKey, urgency: u8, pump: &mut Pump<'_>) -> Step {
    let Pump { tracks, pulls, counters, io, .. } = pump;
    let virtual_time = session.virtual_time;
    let Some(fetch) = session.fetches.get_mut(key) else { return Step::Idle };
    let before = fetch.written;
    let step = match fetch.source {
        FetchSource::Cache(track) => match tracks.get(track) {
            Some(track) => fetch.send_cached(&track.cache, urgency, counters, *io),
            None => {
                fetch.reset(StreamResetCode::UnknownObjectStatus, *io);
                Step::Done
            }
        },
        FetchSource::Pull(key) => match pulls.get_mut(key) {
            Some(pull) => {
                let step = fetch.send_pulled(pull, urgency, counters, *io);
                pulls.count(key);
                step
            }
            None => {
                fetch.reset(StreamResetCode::Internal, *io);
                Step::Done
            }
        },
    };
    fetch.served = fetch.served.max(virtual_time).saturating_add(fetch.written.saturating_sub(before));
    step
}
