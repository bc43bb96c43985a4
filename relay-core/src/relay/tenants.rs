//! Who holds how much of what all sessions of a shard share, so that nobody can take it from the others.
//!
//! ```text
//!   org ---+--- input      what publishers of one input and the ingest hold
//!          '--- audience   what viewers with a token for it hold
//!   peer                   sessions without a scope of their own: before a token, and in open mode
//! ```
//!
//! A bound of all is kept by one rule: **what all hold, what the org holds and what the input (or audience) holds, added up,
//! stays within the bound.** Whoever is alone may take a third of it (a peer: half), a second one a third of what is free
//! then, and so on: however many have taken their share, the next one finds room. Nothing is set aside for those who do not
//! come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;

use crate::wire::Namespace;

use super::auth::resource_of;
use super::keys::TenantKey;
use super::slab::Slab;

/// Something of which a shard has only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    /// Tracks ([`super::RelayConfig::tracks_max`]).
    Tracks,
    /// Announced namespaces ([`super::RelayConfig::namespaces_max`]).
    Namespaces,
    /// Bytes of what is not whole yet ([`super::RelayConfig::unfinished_len_max`]).
    Unfinished,
    /// Bytes on their way from publishers to viewers' FETCHes ([`super::RelayConfig::pulled_len_max`]).
    Pulled,
    /// Cached bytes ([`super::RelayConfig::cache_len_max`]).
    Cached,
}

const GOODS: usize = 5;

/// Amounts of every good.
type Amounts = [usize; GOODS];

impl Good {
    fn of(self, amounts: &mut Amounts) -> &mut usize {
        let [tracks, namespaces, unfinished, pulled, cached] = amounts;
        match self {
            Self::Tracks => tracks,
            Self::Namespaces => namespaces,
            Self::Unfinished => unfinished,
            Self::Pulled => pulled,
            Self::Cached => cached,
        }
    }

    fn amount_in(self, mut amounts: Amounts) -> usize {
        *self.of(&mut amounts)
    }
}

/// Who holds something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TenantName {
    /// Everything of an org.
    Org(Bytes),
    /// The publishers of an input, by org and id.
    Input(Bytes, Bytes),
    /// The viewers of a resource, by org and id.
    Audience(Bytes, Bytes),
    /// A peer, by its network.
    Peer(IpAddr),
    /// Other shards, in open mode.
    Shards,
}

impl TenantName {
    /// A peer: its address, or of IPv6 the /56 that a household has.
    pub(crate) fn peer(address: IpAddr) -> Self {
        const HOUSEHOLD: u128 = !0 << (128 - 56);
        Self::Peer(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & HOUSEHOLD).into(),
        })
    }

    /// The publishers of the input that a namespace belongs to; those of names outside the service count as one.
    pub(crate) fn publishers(namespace: &Namespace) -> Self {
        resource_of(namespace).map_or(Self::Shards, |(org, id)| Self::Input(org.clone(), id.clone()))
    }

    /// The viewers of the resource that a namespace belongs to.
    pub(crate) fn audience(namespace: &Namespace) -> Self {
        resource_of(namespace).map_or(Self::Shards, |(org, id)| Self::Audience(org.clone(), id.clone()))
    }

    fn parent(&self) -> Option<Self> {
        match self {
            Self::Input(org, _) | Self::Audience(org, _) => Some(Self::Org(org.clone())),
            Self::Org(_) | Self::Peer(_) | Self::Shards => None,
        }
    }
}

#[derive(Debug)]
struct Tenant {
    name: TenantName,
    parent: Option<TenantKey>,
    /// Sessions, tracks and tenants that are part of it.
    members: usize,
    held: Amounts,
}

/// All tenants of a shard that hold something.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    slab: Slab<TenantKey, Tenant>,
    by_name: HashMap<TenantName, TenantKey>,
    all: Amounts,
}

impl Tenants {
    /// The tenant of that name, with one member more.
    pub(crate) fn enter(&mut self, name: TenantName) -> TenantKey {
        if let Some(&key) = self.by_name.get(&name)
            && let Some(tenant) = self.slab.get_mut(key)
        {
            tenant.members += 1;
            return key;
        }
        let parent = name.parent().map(|parent| self.enter(parent));
        let key = self.slab.insert(Tenant { name: name.clone(), parent, members: 1, held: Amounts::default() });
        self.by_name.insert(name, key);
        key
    }

    /// The same tenant, with one member more.
    pub(crate) fn enter_again(&mut self, key: TenantKey) -> TenantKey {
        if let Some(tenant) = self.slab.get_mut(key) {
            tenant.members += 1;
        }
        key
    }

    /// One member less; whoever has none is forgotten. What it held was given back before.
    pub(crate) fn leave(&mut self, key: TenantKey) {
        let Some(tenant) = self.slab.get_mut(key) else { return };
        tenant.members = tenant.members.saturating_sub(1);
        if tenant.members > 0 {
            return;
        }
        let Some(tenant) = self.slab.remove(key) else { return };
        debug_assert_eq!(tenant.held, Amounts::default(), "{:?}", tenant.name);
        self.by_name.remove(&tenant.name);
        if let Some(parent) = tenant.parent {
            self.leave(parent);
        }
    }

    /// Whether a tenant may hold `more` of a good of which there is `max` in all.
    pub(crate) fn fits(&self, key: TenantKey, good: Good, more: usize, max: usize) -> bool {
        let shares = self.line(key).map(|tenant| good.amount_in(tenant.held));
        let shares = shares.chain([good.amount_in(self.all)]).map(|held| held.saturating_add(more));
        shares.fold(0, usize::saturating_add) <= max
    }

    /// A tenant holds `after` now where it held `before`.
    pub(crate) fn change(&mut self, key: TenantKey, good: Good, before: usize, after: usize) {
        let change = |held: &mut usize| *held = held.saturating_sub(before).saturating_add(after);
        let mut next = Some(key);
        while let Some(tenant) = next.and_then(|key| self.slab.get_mut(key)) {
            change(good.of(&mut tenant.held));
            next = tenant.parent;
        }
        change(good.of(&mut self.all));
    }

    /// What a tenant holds of a good.
    pub(crate) fn held(&self, key: TenantKey, good: Good) -> usize {
        self.slab.get(key).map_or(0, |tenant| good.amount_in(tenant.held))
    }

    /// The tenant and those that it is part of.
    fn line(&self, key: TenantKey) -> impl Iterator<Item = &Tenant> {
        std::iter::successors(self.slab.get(key), |tenant| self.slab.get(tenant.parent?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(org: &'static str, id: &'static str) -> TenantName {
        TenantName::Input(Bytes::from_static(org.as_bytes()), Bytes::from_static(id.as_bytes()))
    }

    /// Takes one after the other until no more fit.
    fn fill(tenants: &mut Tenants, key: TenantKey, max: usize) -> usize {
        let before = tenants.held(key, Good::Tracks);
        while tenants.fits(key, Good::Tracks, 1, max) {
            tenants.change(key, Good::Tracks, 0, 1);
        }
        tenants.held(key, Good::Tracks) - before
    }

    #[test]
    fn however_much_others_took_the_next_one_finds_room() {
        let mut tenants = Tenants::default();
        let names = [input("a", "1"), input("a", "2"), input("b", "1"), TenantName::peer([192, 0, 2, 1].into())];
        let keys = names.map(|name| tenants.enter(name));
        assert_eq!(keys.map(|key| fill(&mut tenants, key, 8_190)), [2_730, 910, 1_516, 1_517]);
        assert_eq!(keys.map(|key| fill(&mut tenants, key, 8_190)), [0; 4]);
        assert_eq!(Good::Tracks.amount_in(tenants.all), 6_673);
    }

    #[test]
    fn tenants_that_hold_nothing_are_forgotten() {
        let mut tenants = Tenants::default();
        let first = tenants.enter(input("a", "1"));
        assert_eq!(tenants.enter(input("a", "1")), first);
        tenants.change(first, Good::Pulled, 0, 100);
        tenants.change(first, Good::Pulled, 100, 0);
        tenants.leave(first);
        assert_eq!(tenants.by_name.len(), 2, "the input and its org");
        tenants.leave(first);
        assert_eq!((tenants.by_name.len(), tenants.slab.len()), (0, 0));
    }

    #[test]
    fn a_household_is_one_peer() {
        let peer = |address: &str| TenantName::peer(address.parse().unwrap());
        assert_eq!(peer("2001:db8:0:1100::1"), peer("2001:db8:0:11ff:1234::2"));
        assert_ne!(peer("2001:db8:0:1100::1"), peer("2001:db8:0:1200::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
