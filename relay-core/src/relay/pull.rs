//! A FETCH of ours to a publisher, on behalf of one viewer's FETCH.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::wire::{FetchObjectHead, GroupOrder, Location, MissingRange};

use super::session::Key;
use super::slab::Slab;

/// What came back, in order.
#[derive(Debug)]
pub(crate) enum PulledItem {
    Object(FetchObjectHead, Bytes),
    Missing(MissingRange, Location),
    /// The stream ended well.
    End,
    /// The stream was reset with this code.
    Reset(u64),
}

/// Objects on their way from a publisher's fetch stream to a viewer's.
#[derive(Debug)]
pub(crate) struct Pull {
    /// The publisher: session and our request there.
    pub(crate) publisher: (Key, Key),
    /// The viewer: session and its request.
    pub(crate) viewer: (Key, Key),
    pub(crate) order: GroupOrder,
    items: VecDeque<PulledItem>,
    len: usize,
    /// The part of the sums of [`Pulls`] that is this one's.
    counted: usize,
    ended: bool,
}

impl Pull {
    pub(crate) fn new(publisher: (Key, Key), viewer: (Key, Key), order: GroupOrder) -> Self {
        Self { publisher, viewer, order, items: VecDeque::new(), len: 0, counted: 0, ended: false }
    }

    /// Adds what came; nothing counts after the end.
    pub(crate) fn push(&mut self, item: PulledItem) {
        if self.ended {
            return;
        }
        self.ended = matches!(item, PulledItem::End | PulledItem::Reset(_));
        self.len += item_len(&item);
        self.items.push_back(item);
    }

    pub(crate) fn next(&mut self) -> Option<PulledItem> {
        let item = self.items.pop_front()?;
        self.len = self.len.saturating_sub(item_len(&item));
        Some(item)
    }

    /// Nothing to hand over right now.
    pub(crate) fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }
}

/// All pulls of a shard, and what waits in them.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    slab: Slab<Pull>,
    len: usize,
    by_viewer: HashMap<Key, usize>,
}

impl Pulls {
    pub(crate) fn insert(&mut self, pull: Pull) -> Key {
        self.slab.insert(pull)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Pull> {
        self.slab.get(key)
    }

    /// After a change of what waits in it, [`Pulls::count`] has to follow.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Pull> {
        self.slab.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Pull> {
        let pull = self.slab.remove(key)?;
        self.add(pull.viewer.0, pull.counted, 0);
        Some(pull)
    }

    /// Brings the sums up to date with one pull.
    pub(crate) fn count(&mut self, key: Key) {
        let Some(pull) = self.slab.get_mut(key) else { return };
        let (viewer, len) = (pull.viewer.0, pull.len);
        let before = std::mem::replace(&mut pull.counted, len);
        self.add(viewer, before, len);
    }

    fn add(&mut self, viewer: Key, before: usize, len: usize) {
        self.len = self.len.saturating_sub(before).saturating_add(len);
        let of_viewer = self.by_viewer.entry(viewer).or_default();
        *of_viewer = of_viewer.saturating_sub(before).saturating_add(len);
        if *of_viewer == 0 {
            self.by_viewer.remove(&viewer);
        }
    }

    /// Bytes that wait in all of them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that wait for one session.
    pub(crate) fn len_of(&self, viewer: Key) -> usize {
        self.by_viewer.get(&viewer).copied().unwrap_or_default()
    }
}

fn item_len(item: &PulledItem) -> usize {
    // An item costs memory even when its payload is empty.
    const ITEM_LEN: usize = std::mem::size_of::<PulledItem>();
    match item {
        PulledItem::Object(head, payload) => ITEM_LEN + head.properties.len() + payload.len(),
        _ => ITEM_LEN,
    }
}
