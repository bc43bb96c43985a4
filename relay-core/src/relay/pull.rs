//! A FETCH of ours to a publisher, on behalf of one viewer's FETCH.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wire::{FetchObjectHead, GroupOrder, Location, MissingRange};

use super::session::Key;

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
    ended: bool,
}

impl Pull {
    pub(crate) fn new(publisher: (Key, Key), viewer: (Key, Key), order: GroupOrder) -> Self {
        Self { publisher, viewer, order, items: VecDeque::new(), len: 0, ended: false }
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

    /// Bytes that wait for the viewer.
    pub(crate) fn len(&self) -> usize {
        self.len
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
