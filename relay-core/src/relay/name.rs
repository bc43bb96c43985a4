//! Names of tracks and namespaces (MoQT-18 §2.4).

use bytes::Bytes;

/// A track namespace: 1 to 32 non-empty fields (0 fields only as a prefix).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub Vec<Bytes>);

/// A namespace and a track's name in it; at most 4096 bytes in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullTrackName {
    /// The namespace.
    pub namespace: Namespace,
    /// The name inside the namespace, e.g. `video/720p`.
    pub name: Bytes,
}

/// The place of an object in a track; ordered by group, then object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Group id.
    pub group: u64,
    /// Object id in the group.
    pub object: u64,
}
