//! How each peer is reached, as learned from what it sent.

use std::collections::HashMap;
use std::net::IpAddr;

use super::headers::Route;

/// Peers in one generation. Two generations of 64 bytes a peer stay within a few MiB.
const PEERS_MAX: usize = 32_768;

/// Routes by peer address, bounded: when a generation is full it becomes the old one and the old one is forgotten. Whoever
/// sends or is sent to is in the young one again, so that a flood of forged senders pushes out nobody who is there; and who was
/// pushed out is sent to by the kernel until its next packet.
#[derive(Default)]
pub(super) struct Routes {
    young: HashMap<IpAddr, Route>,
    old: HashMap<IpAddr, Route>,
    /// The one that was used last: a viewer's packets leave together.
    last: Option<(IpAddr, Route)>,
}

impl Routes {
    /// The newest packet of `peer` came this way.
    pub(super) fn learn(&mut self, peer: IpAddr, route: Route) {
        if self.last == Some((peer, route)) {
            return;
        }
        self.last = Some((peer, route));
        self.insert(peer, route);
    }

    /// The way to `peer`.
    pub(super) fn find(&mut self, peer: IpAddr) -> Option<Route> {
        if let Some((_, route)) = self.last.filter(|(last, _)| *last == peer) {
            return Some(route);
        }
        let route = match self.young.get(&peer) {
            Some(route) => *route,
            None => {
                let route = self.old.remove(&peer)?;
                self.insert(peer, route);
                route
            }
        };
        self.last = Some((peer, route));
        Some(route)
    }

    /// The kernel's socket got a packet of `peer`: it is reached by the kernel now.
    pub(super) fn forget(&mut self, peer: IpAddr) {
        self.last = self.last.filter(|(last, _)| *last != peer);
        self.young.remove(&peer);
        self.old.remove(&peer);
    }

    fn insert(&mut self, peer: IpAddr, route: Route) {
        if self.young.len() >= PEERS_MAX && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(peer, route);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::headers::parse;
    use super::*;

    fn route(port: u16) -> Route {
        let mut frame = vec![2; 14];
        frame[12..].copy_from_slice(&[8, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 9]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 8, 0, 0]);
        parse(&frame).unwrap().route
    }

    #[test]
    fn the_newest_way_counts() {
        let (mut routes, peer) = (Routes::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(routes.find(peer), None);
        routes.learn(peer, route(1));
        routes.learn(peer, route(2));
        assert_eq!(routes.find(peer), Some(route(2)));
        routes.forget(peer);
        assert_eq!(routes.find(peer), None);
    }

    #[test]
    fn a_flood_of_senders_is_bounded_and_pushes_out_nobody_who_is_there() {
        let (mut routes, viewer) = (Routes::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        routes.learn(viewer, route(1));
        for sender in 0..5 * PEERS_MAX as u32 {
            routes.learn(Ipv4Addr::from(sender).into(), route(9));
            if sender % 1_000 == 0 {
                assert_eq!(routes.find(viewer), Some(route(1)), "{sender}");
            }
            assert!(routes.young.len() <= PEERS_MAX && routes.old.len() <= PEERS_MAX);
        }
        assert_eq!(routes.find(Ipv4Addr::from(1).into()), None, "long gone");
    }
}
