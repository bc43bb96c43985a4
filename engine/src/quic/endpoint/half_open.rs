//! Handshakes that are not done: the oldest one goes when there are too many, in all or from one proven address.
//!
//! A handshake that makes no progress costs as much memory as a viewer and nothing to who began it. So its place is never its
//! own: it has a deadline from its first packet on, and whoever comes later may take the place of the oldest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use streams_relay_core::relay::SessionId;

/// Who shares a part of the half-open handshakes: an IPv4 address, or the /56 of an IPv6 address, which is what one customer of a
/// provider usually has (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Share {
    V4([u8; 4]),
    V6([u8; 7]),
}

impl Share {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

/// The half-open handshakes of one endpoint. A [`SessionId`] of one endpoint is greater than all before it.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    by_age: BTreeMap<SessionId, Option<Share>>,
    /// Those whose clients have proven their address by a Retry. Anybody may write any address into a first packet, so the others
    /// count for no share: else one could push out somebody else's.
    by_share: HashMap<Share, BTreeSet<SessionId>>,
}

impl HalfOpen {
    /// All of them.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// `proven`: the share of a client that has answered a Retry.
    pub(super) fn insert(&mut self, session: SessionId, proven: Option<Share>) {
        self.by_age.insert(session, proven);
        if let Some(share) = proven {
            self.by_share.entry(share).or_default().insert(session);
        }
    }

    /// `false`: it was none of them.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        let Some(proven) = self.by_age.remove(&session) else { return false };
        if let Some(share) = proven
            && let Some(sessions) = self.by_share.get_mut(&share)
        {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.by_share.remove(&share);
            }
        }
        true
    }

    /// Who has to go before one more comes in: the oldest of its own share when that is used up, else the oldest of all when there
    /// are `max`.
    pub(super) fn in_the_way(&self, proven: Option<Share>, share_max: usize, max: usize) -> Option<SessionId> {
        let mine = proven.and_then(|share| self.by_share.get(&share)).filter(|mine| mine.len() >= share_max);
        let oldest = || self.by_age.keys().next().filter(|_| self.len() >= max);
        mine.and_then(|mine| mine.first()).or_else(oldest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_an_address_or_a_network_of_56_bits() {
        let share = |text: &str| Share::of(text.parse().expect("an address"));
        assert_eq!(share("198.51.100.7"), share("::ffff:198.51.100.7"));
        assert_ne!(share("198.51.100.7"), share("198.51.100.8"));
        assert_eq!(share("2001:db8:1:2f00::1"), share("2001:db8:1:2fff::2"));
        assert_ne!(share("2001:db8:1:2f00::1"), share("2001:db8:1:3000::1"));
    }

    #[test]
    fn the_oldest_of_a_used_up_share_goes_before_the_oldest_of_all() {
        let (mut half_open, one, other) = (HalfOpen::default(), Share::V4([1; 4]), Share::V4([2; 4]));
        for (session, proven) in [(1, None), (2, Some(other)), (3, Some(one)), (4, Some(one))] {
            half_open.insert(SessionId(session), proven);
        }
        assert_eq!(half_open.in_the_way(Some(one), 2, 100), Some(SessionId(3)));
        assert_eq!(half_open.in_the_way(Some(other), 2, 100), None);
        assert_eq!(half_open.in_the_way(None, 2, 4), Some(SessionId(1)));
        assert!(half_open.remove(SessionId(3)) && !half_open.remove(SessionId(3)));
        assert_eq!(half_open.in_the_way(Some(one), 2, 100), None);
        assert_eq!(half_open.len(), 3);
    }
}
