//! Which namespaces are published, and where.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::relay::keys::SessionKey;
use crate::wire::{FullTrackName, Namespace};

/// Who publishes a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The engine's ingest.
    Local,
    /// A session, by its PUBLISH_NAMESPACE.
    Session(SessionKey),
    /// Another shard.
    Shard(usize),
    /// A session that was lost and may come back ([`crate::relay::publish::held`]).
    Held,
}

impl Borrow<[Bytes]> for Namespace {
    fn borrow(&self) -> &[Bytes] {
        &self.0
    }
}

/// All published namespaces in order, so that everything under a prefix lies together.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    by_name: BTreeMap<Namespace, Vec<Publisher>>,
}

impl Namespaces {
    /// Adds a publisher; `true` when the namespace was not published before.
    pub(crate) fn add(&mut self, namespace: Namespace, publisher: Publisher) -> bool {
        let publishers = self.by_name.entry(namespace).or_default();
        if !publishers.contains(&publisher) {
            publishers.push(publisher);
        }
        publishers.len() == 1
    }

    /// Removes a publisher; `true` when nobody publishes the namespace any more.
    pub(crate) fn remove(&mut self, namespace: &Namespace, publisher: Publisher) -> bool {
        let Some(publishers) = self.by_name.get_mut(namespace) else { return false };
        let before = publishers.len();
        publishers.retain(|known| *known != publisher);
        let gone = before > 0 && publishers.is_empty();
        if gone {
            self.by_name.remove(namespace);
        }
        gone
    }

    /// Whether a session or the ingest of this shard publishes it, or a session that may come back did.
    pub(crate) fn is_home(&self, namespace: &Namespace) -> bool {
        let publishers = self.by_name.get(namespace).map(Vec::as_slice).unwrap_or_default();
        publishers.iter().any(|publisher| !matches!(publisher, Publisher::Shard(_)))
    }

    /// Whether a lost session published it.
    pub(crate) fn is_held(&self, namespace: &Namespace) -> bool {
        self.by_name.get(namespace).is_some_and(|publishers| publishers.contains(&Publisher::Held))
    }

    /// Everybody who publishes the track's namespace or a prefix of it (MoQT-18 §9.4), the longest match first.
    pub(crate) fn publishers_of(&self, track: &FullTrackName) -> Vec<Publisher> {
        let fields = track.namespace.fields();
        let mut found = Vec::new();
        for len in (0..=fields.len()).rev() {
            for publisher in self.by_name.get(fields.get(..len).unwrap_or_default()).into_iter().flatten() {
                if !found.contains(publisher) {
                    found.push(*publisher);
                }
            }
        }
        found
    }

    /// All published namespaces under a prefix.
    pub(crate) fn under<'a>(&'a self, prefix: &'a Namespace) -> impl Iterator<Item = &'a Namespace> {
        let from = self.by_name.range::<[Bytes], _>((Bound::Included(prefix.fields()), Bound::Unbounded));
        from.map(|(namespace, _)| namespace).take_while(|namespace| namespace.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::keys::Key;

    fn namespace(fields: &[&str]) -> Namespace {
        Namespace::new(fields).unwrap()
    }

    fn session(slot: usize) -> Publisher {
        Publisher::Session(SessionKey::of_slot(slot))
    }

    fn track(fields: &[&str]) -> FullTrackName {
        FullTrackName::new(namespace(fields), "t").unwrap()
    }

    #[test]
    fn a_prefix_matches_whole_fields_only() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.add(namespace(&["foo"]), session(1)));
        assert!(!namespaces.add(namespace(&["foo"]), session(2)));
        namespaces.add(namespace(&["foo", "bar"]), Publisher::Shard(3));
        let found = namespaces.publishers_of(&track(&["foo", "bar"]));
        assert_eq!(found, [Publisher::Shard(3), session(1), session(2)]);
        assert!(namespaces.publishers_of(&track(&["foobar"])).is_empty());
        assert!(!namespaces.remove(&namespace(&["foo"]), session(1)));
        assert!(namespaces.remove(&namespace(&["foo"]), session(2)));
    }

    #[test]
    fn everything_under_a_prefix_is_found() {
        let mut namespaces = Namespaces::default();
        for fields in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["ab"], &["b"]] {
            namespaces.add(namespace(fields), Publisher::Local);
        }
        let prefix = namespace(&["a"]);
        let found: Vec<_> = namespaces.under(&prefix).cloned().collect();
        assert_eq!(found, [namespace(&["a"]), namespace(&["a", "b"]), namespace(&["a", "b", "c"])]);
        assert_eq!(namespaces.under(&Namespace::default()).count(), 5);
    }
}
