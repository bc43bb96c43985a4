//! What the things of a relay are called inside it: a type of its own for each kind, so that the key of one cannot be taken for
//! that of another.

use super::TrackId;

/// A key that a [`super::slab::Slab`] hands out.
pub(crate) trait Key: Copy {
    /// The key of a slot.
    fn of_slot(slot: usize) -> Self;

    /// The slot that it names.
    fn slot(self) -> usize;
}

macro_rules! keys {
    ($($(#[$about:meta])* $name:ident;)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(usize);

        impl Key for $name {
            fn of_slot(slot: usize) -> Self {
                Self(slot)
            }

            fn slot(self) -> usize {
                self.0
            }
        }
    )*};
}

keys! {
    /// A session of the relay.
    SessionKey;
    /// A request of one session, of its peer or of ours.
    RequestKey;
    /// A subscription of one session.
    SubscriptionKey;
    /// A FETCH that one session is served.
    FetchKey;
    /// A FETCH that another shard is served.
    ShardFetchKey;
    /// Objects on their way from a publisher or another shard to one FETCH.
    PullKey;
    /// Where a track is kept.
    TrackSlot;
    /// Somebody with a share of what all have in common.
    TenantKey;
}

/// A track of the relay. Slots are used again and serials never, so the key of a track that is gone finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TrackKey {
    pub(crate) slot: TrackSlot,
    pub(crate) serial: u64,
}

/// Bits of a [`TrackId`] that hold the track's serial; the rest is its slot.
const SERIAL_BITS: u32 = 40;

impl TrackKey {
    /// What the engine calls the track.
    pub(crate) fn id(self) -> TrackId {
        TrackId((self.slot.slot() as u64) << SERIAL_BITS | self.serial)
    }

    pub(crate) fn of_id(id: TrackId) -> Option<Self> {
        let slot = TrackSlot::of_slot(usize::try_from(id.0 >> SERIAL_BITS).ok()?);
        Some(Self { slot, serial: id.0 & ((1 << SERIAL_BITS) - 1) })
    }
}
