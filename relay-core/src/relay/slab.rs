//! A vector with holes: stable small keys, reused after removal.

use super::keys::Key;

/// Values under keys that stay valid until the value is removed. Keys of another kind do not fit.
#[derive(Debug)]
pub(crate) struct Slab<K, T> {
    slots: Vec<Option<T>>,
    free: Vec<K>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<K: Key, T> Slab<K, T> {
    pub(crate) fn insert(&mut self, value: T) -> K {
        if let Some(key) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(key.slot())
        {
            *slot = Some(value);
            return key;
        }
        self.slots.push(Some(value));
        K::of_slot(self.slots.len() - 1)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let value = self.slots.get_mut(key.slot())?.take();
        if value.is_some() {
            self.free.push(key);
        }
        value
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        self.slots.get(key.slot())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.slots.get_mut(key.slot())?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, value)| value.as_ref().map(|value| (K::of_slot(slot), value)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, value)| value.as_mut().map(|value| (K::of_slot(slot), value)))
    }
}
