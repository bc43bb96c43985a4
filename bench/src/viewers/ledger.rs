//! What one viewer got, group by group.

use std::collections::BTreeMap;

/// One group as one viewer saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Group {
    /// Id of its first object.
    pub first: u64,
    /// The object that has to come next.
    pub next: u64,
    /// Objects that came.
    pub objects: u64,
    /// How many of them were fetched when joining.
    pub fetched: u64,
    /// Objects that did not come before later ones.
    pub skipped: u64,
    /// Objects that came twice, or after later ones.
    pub repeated: u64,
    /// Nothing more comes of it.
    pub ended: bool,
    /// It was reset or given up before its end.
    pub cut: bool,
}

/// One track as one viewer saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By group id.
    pub groups: BTreeMap<u64, Group>,
}

impl Ledger {
    /// Takes down an object.
    pub fn object(&mut self, group: u64, object: u64, fetched: bool) {
        let group = self.groups.entry(group).or_insert(Group { first: object, next: object, ..Group::default() });
        group.objects += 1;
        group.fetched += u64::from(fetched);
        match object.checked_sub(group.next) {
            Some(skipped) => {
                group.skipped += skipped;
                group.next = object.saturating_add(1);
            }
            None => group.repeated += 1,
        }
    }

    /// Takes down the end of a group.
    pub fn group_end(&mut self, group: u64, complete: bool) {
        let group = self.groups.entry(group).or_default();
        group.ended = true;
        group.cut |= !complete;
    }

    /// Whether more of the group may come: it is the newest, or the one before (its last objects travel on a stream of their
    /// own) and has not ended.
    pub fn is_open(&self, group: u64) -> bool {
        let ended = self.groups.get(&group).is_some_and(|group| group.ended);
        match self.groups.range(group..).count() {
            0 | 1 => true,
            2 => !ended,
            _ => false,
        }
    }

    /// Objects that came.
    pub fn objects(&self) -> u64 {
        self.groups.values().map(|group| group.objects).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(objects: &[u64]) -> Group {
        let mut ledger = Ledger::default();
        objects.iter().for_each(|object| ledger.object(7, *object, false));
        ledger.groups[&7]
    }

    #[test]
    fn objects_in_order_leave_no_trace_but_their_number() {
        let group = ledger(&[0, 1, 2]);
        assert_eq!(group, Group { next: 3, objects: 3, ..Group::default() });
    }

    #[test]
    fn holes_and_repetitions_are_counted() {
        let group = ledger(&[0, 3, 3, 1]);
        assert_eq!((group.skipped, group.repeated, group.objects), (2, 2, 4));
        assert_eq!(ledger(&[5, 6]).first, 5);
    }
}
