//! Places of a listener: who may be there at once, and who goes for a newcomer.
//!
//! ```text
//!   arrive ---> unpublished ---publish---> publishing ---finish---> unpublished ---leave--->
//!                   |  share of its origin full: the origin's oldest goes
//!                   '- all places taken: the oldest of the origin that holds most goes
//! ```
//!
//! Anybody may connect, so those who have not shown a key yet compete among themselves only: a publishing connection never goes for
//! one of them. An origin is what one party can have many of: an IPv4 address, an IPv6 /56 (RFC 6177). Origins that published not
//! long ago hold a few places that no stranger takes, so a known encoder comes back through a flood from elsewhere.
//!
//! It knows no socket and no clock: a place is a number, and its owner closes the connections that are named.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// How long an origin is known after its last publish: an encoder that pauses overnight is known in the morning.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Origins that may be known, the ones heard of last. An entry takes less than 100 bytes.
const KNOWN_MAX: usize = 1_024;
/// Unpublished places of a known origin that nobody else takes: a studio's few encoders that reconnect at once.
const KNOWN_HELD_MAX: usize = 4;
/// Leading bits of an IPv6 address that name a site.
const IPV6_SITE_BITS: u32 = 56;

/// Bounds of one shard's listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceLimits {
    /// Connections that have not published.
    pub(crate) unpublished_max: usize,
    /// Of these, connections of one origin.
    pub(crate) unpublished_address_max: usize,
    /// Publishing connections.
    pub(crate) publishing_max: usize,
}

/// One connection's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlaceId(u64);

/// What became of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It has a place.
    Placed(PlaceId),
    /// It has a place, and another connection has lost its own and is to be closed.
    Instead {
        /// The newcomer's.
        place: PlaceId,
        /// Whose connection is to be closed.
        victim: PlaceId,
    },
    /// Every place is held by known origins within their right.
    Refused,
}

/// There are as many publishing connections as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Where connections come from: an IPv4 address or an IPv6 /56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4(Ipv4Addr),
    V6(u64),
}

impl Origin {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            // The shift leaves the site's bits, which fit.
            IpAddr::V6(address) => Self::V6((address.to_bits() >> (128 - IPV6_SITE_BITS)) as u64),
        }
    }
}

#[derive(Default)]
struct Held {
    unpublished: usize,
    published_at: Option<Instant>,
}

impl Held {
    fn is_known(&self, now: Instant) -> bool {
        self.published_at.is_some_and(|at| now.saturating_duration_since(at) < KNOWN_FOR)
    }

    /// Places beyond what is its own right.
    fn excess(&self, now: Instant) -> usize {
        self.unpublished.saturating_sub(if self.is_known(now) { KNOWN_HELD_MAX } else { 0 })
    }
}

struct Unpublished {
    place: PlaceId,
    origin: Origin,
}

struct Publishing {
    origin: Origin,
    input: String,
}

/// The places of one shard's listener.
pub(crate) struct Places {
    limits: PlaceLimits,
    /// First to go first.
    unpublished: VecDeque<Unpublished>,
    publishing: HashMap<PlaceId, Publishing>,
    origins: HashMap<Origin, Held>,
    next: u64,
}

impl Places {
    /// An empty listener.
    pub(crate) fn new(limits: PlaceLimits) -> Self {
        Self { limits, unpublished: VecDeque::new(), publishing: HashMap::new(), origins: HashMap::new(), next: 0 }
    }

    /// A connection from `peer` was accepted.
    pub(crate) fn arrive(&mut self, peer: IpAddr, now: Instant) -> Arrival {
        let origin = Origin::of(peer);
        let place = PlaceId(self.next);
        self.next = self.next.wrapping_add(1);
        let held = self.origins.entry(origin).or_default();
        held.unpublished = held.unpublished.saturating_add(1);
        let over_share = held.unpublished > self.limits.unpublished_address_max;
        self.unpublished.push_back(Unpublished { place, origin });
        let victim = if over_share {
            self.unpublished.iter().find(|one| one.origin == origin).map(|one| one.place)
        } else if self.unpublished.len() > self.limits.unpublished_max {
            self.victim(now)
        } else {
            return Arrival::Placed(place);
        };
        match victim {
            Some(victim) if victim != place => {
                self.leave(victim);
                Arrival::Instead { place, victim }
            }
            _ => {
                self.leave(place);
                Arrival::Refused
            }
        }
    }

    /// The oldest connection of the origin that holds most beyond its right; `None` when none holds more.
    fn victim(&self, now: Instant) -> Option<PlaceId> {
        let excess = |one: &Unpublished| self.origins.get(&one.origin).map_or(0, |held| held.excess(now));
        let mut most = (0, None);
        for one in &self.unpublished {
            let excess = excess(one);
            if excess > most.0 {
                most = (excess, Some(one.place));
            }
        }
        most.1
    }

    /// Somebody at `peer` has shown a good key.
    pub(crate) fn vouch(&mut self, peer: IpAddr, now: Instant) {
        self.know(Origin::of(peer), now);
    }

    fn know(&mut self, origin: Origin, now: Instant) {
        self.origins.entry(origin).or_default().published_at = Some(now);
        let known = self.origins.iter().filter_map(|(origin, held)| held.published_at.map(|at| (at, *origin)));
        if known.clone().count() > KNOWN_MAX
            && let Some((_, oldest)) = known.min_by_key(|(at, _)| *at)
        {
            if let Some(held) = self.origins.get_mut(&oldest) {
                held.published_at = None;
            }
            self.forget(oldest);
        }
    }

    /// The connection may publish to `input`. An earlier one of the same input is over and counts as unpublished from now on.
    ///
    /// # Errors
    /// [`Full`] when as many other inputs publish as may.
    pub(crate) fn publish(&mut self, place: PlaceId, input: &str, now: Instant) -> Result<(), Full> {
        let earlier = self.publishing.iter().find(|(_, one)| one.input == input).map(|(place, _)| *place);
        if earlier.is_none() && self.publishing.len() >= self.limits.publishing_max {
            return Err(Full);
        }
        // One that was told to go for another is closed already and publishes no more.
        let origin = self.take_unpublished(place).ok_or(Full)?;
        if let Some(earlier) = earlier {
            self.finish(earlier);
        }
        self.publishing.insert(place, Publishing { origin, input: input.to_owned() });
        self.know(origin, now);
        Ok(())
    }

    /// The connection publishes no more, and is there until it [leaves](Self::leave): the first to go for a newcomer.
    pub(crate) fn finish(&mut self, place: PlaceId) {
        let Some(Publishing { origin, .. }) = self.publishing.remove(&place) else { return };
        let held = self.origins.entry(origin).or_default();
        held.unpublished = held.unpublished.saturating_add(1);
        self.unpublished.push_front(Unpublished { place, origin });
    }

    /// The connection is closed.
    pub(crate) fn leave(&mut self, place: PlaceId) {
        match self.publishing.remove(&place) {
            Some(Publishing { origin, .. }) => self.forget(origin),
            None => drop(self.take_unpublished(place)),
        }
    }

    fn take_unpublished(&mut self, place: PlaceId) -> Option<Origin> {
        let index = self.unpublished.iter().position(|one| one.place == place)?;
        let Unpublished { origin, .. } = self.unpublished.remove(index)?;
        if let Some(held) = self.origins.get_mut(&origin) {
            held.unpublished = held.unpublished.saturating_sub(1);
        }
        self.forget(origin);
        Some(origin)
    }

    /// Keeps nothing of an origin that holds nothing and is not known.
    fn forget(&mut self, origin: Origin) {
        if self.origins.get(&origin).is_some_and(|held| held.unpublished == 0 && held.published_at.is_none()) {
            self.origins.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PlaceLimits = PlaceLimits { unpublished_max: 12, unpublished_address_max: 5, publishing_max: 3 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    fn place(arrival: Arrival) -> PlaceId {
        match arrival {
            Arrival::Placed(place) | Arrival::Instead { place, .. } => place,
            Arrival::Refused => panic!("the newcomer was refused"),
        }
    }

    /// Every place taken by silent connections of strangers, one an address.
    fn flooded(places: &mut Places, now: Instant) -> Vec<PlaceId> {
        (0..LIMITS.unpublished_max as u8).map(|last| place(places.arrive(address(100 + last), now))).collect()
    }

    #[test]
    fn an_address_beyond_its_share_loses_its_own_oldest_connection_and_nobody_elses() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let other = place(places.arrive(address(1), now));
        let mut flood: VecDeque<_> = (0..5).map(|_| place(places.arrive(address(2), now))).collect();
        for _ in 0..100 {
            let Arrival::Instead { place, victim } = places.arrive(address(2), now) else { panic!("nobody went") };
            assert_eq!(Some(victim), flood.pop_front(), "the oldest of that address");
            flood.push_back(place);
        }
        assert_eq!(places.publish(other, "lv_a", now), Ok(()));
    }

    #[test]
    fn a_site_of_ipv6_has_one_share_and_mapped_addresses_are_ipv4() {
        let parse = |text: &str| text.parse::<IpAddr>().map(Origin::of).unwrap();
        assert_eq!(parse("2001:db8:0:ff01::1"), parse("2001:db8:0:ffff:1:2:3:4"));
        assert_ne!(parse("2001:db8:0:ff01::1"), parse("2001:db8:0:fe01::1"));
        assert_eq!(parse("::ffff:203.0.113.7"), parse("203.0.113.7"));
        assert_ne!(parse("203.0.113.7"), parse("203.0.113.8"));
    }

    #[test]
    fn when_all_places_are_taken_the_origin_that_holds_most_pays() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let lonely = place(places.arrive(address(1), now));
        let crowd: Vec<_> = (0..4).map(|_| place(places.arrive(address(2), now))).collect();
        let others: Vec<_> = (0..7).map(|last| place(places.arrive(address(10 + last / 2), now))).collect();
        assert_eq!((1 + crowd.len() + others.len(), places.unpublished.len()), (LIMITS.unpublished_max, 12));
        let Arrival::Instead { place: newcomer, victim } = places.arrive(address(3), now) else {
            panic!("nobody went")
        };
        assert_eq!(victim, crowd[0]);
        assert_eq!(places.publish(lonely, "lv_a", now), Ok(()));
        assert_eq!(places.publish(newcomer, "lv_b", now), Ok(()));
    }

    #[test]
    fn a_publishing_connection_never_goes_for_unpublished_ones() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let publisher = place(places.arrive(address(1), now));
        assert_eq!(places.publish(publisher, "lv_a", now), Ok(()));
        for number in 0..10_000u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number));
            if let Arrival::Instead { victim, .. } = places.arrive(peer, now) {
                assert_ne!(victim, publisher);
            }
        }
        assert_eq!((places.unpublished.len(), places.publishing.len()), (LIMITS.unpublished_max, 1));
        assert!(places.origins.len() <= LIMITS.unpublished_max + 1, "gone origins leave nothing behind");
    }

    #[test]
    fn a_known_encoder_reconnects_during_a_flood_from_elsewhere() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let first = place(places.arrive(address(1), now));
        assert_eq!(places.publish(first, "lv_a", now), Ok(()));
        places.leave(first);
        flooded(&mut places, now);
        let again = place(places.arrive(address(1), now));
        // Strangers from ever new addresses come faster than the encoder can answer.
        for number in 0..1_000u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number));
            assert!(matches!(places.arrive(peer, now), Arrival::Instead { victim, .. } if victim != again));
        }
        assert_eq!(places.publish(again, "lv_a", now), Ok(()));
        let later = now + KNOWN_FOR;
        assert!(!places.origins[&Origin::of(address(1))].is_known(later), "it is not known for ever");
    }

    #[test]
    fn a_stranger_is_refused_only_when_known_origins_hold_every_place_by_right() {
        let limits = PlaceLimits { unpublished_max: 8, unpublished_address_max: 6, publishing_max: 3 };
        let (mut places, now) = (Places::new(limits), Instant::now());
        for last in [1, 2] {
            places.vouch(address(last), now);
            for _ in 0..KNOWN_HELD_MAX {
                place(places.arrive(address(last), now));
            }
        }
        assert_eq!(places.arrive(address(3), now), Arrival::Refused);
        assert_eq!(places.unpublished.len(), 8);
        // Beyond its right a known origin pays like any other.
        let fifth = places.arrive(address(1), now);
        assert!(matches!(fifth, Arrival::Instead { .. }), "{fifth:?}");
    }

    #[test]
    fn the_newest_encoder_of_an_input_publishes_also_when_all_places_are_taken() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let publishers: Vec<_> = (1..=3).map(|last| place(places.arrive(address(last), now))).collect();
        for (publisher, input) in publishers.iter().zip(["lv_a", "lv_b", "lv_c"]) {
            assert_eq!(places.publish(*publisher, input, now), Ok(()));
        }
        let stranger = place(places.arrive(address(9), now));
        assert_eq!(places.publish(stranger, "lv_d", now), Err(Full));
        let again = place(places.arrive(address(1), now));
        assert_eq!(places.publish(again, "lv_a", now), Ok(()));
        // The earlier one closes in its own time, first to go meanwhile.
        assert_eq!(places.unpublished.front().map(|one| one.place), Some(publishers[0]));
        places.leave(publishers[0]);
        places.finish(again);
        assert_eq!(places.publish(stranger, "lv_d", now), Ok(()));
    }

    #[test]
    fn a_connection_that_had_to_go_publishes_no_more_and_known_origins_are_bounded() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let taken = flooded(&mut places, now);
        assert!(matches!(places.arrive(address(1), now), Arrival::Instead { victim, .. } if victim == taken[0]));
        assert_eq!(places.publish(taken[0], "lv_a", now), Err(Full));
        for number in 0..2_000u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number));
            places.vouch(peer, now + Duration::from_millis(number.into()));
        }
        let known = places.origins.values().filter(|held| held.published_at.is_some()).count();
        assert_eq!(known, KNOWN_MAX);
        assert!(places.origins.len() <= KNOWN_MAX + LIMITS.unpublished_max);
    }
}
