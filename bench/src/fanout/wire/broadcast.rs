//! What was published, byte by byte, and when: what viewers' streams are compared with.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::check::Object;

/// How long after its last object a group may still be on its way: an overloaded engine has much to send from its own buffers.
const LATE_MAX: Duration = Duration::from_secs(60);

/// An object that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Counts from 0 over all groups.
    pub number: u64,
    /// Just before it was handed to the publisher's transport.
    pub at: Instant,
    /// Where it ends in its group's bytes.
    pub end: usize,
}

/// A group as it stands on a stream, behind the stream's header.
#[derive(Debug)]
pub struct Group {
    /// Group id.
    pub id: u64,
    /// Its objects, framed.
    pub bytes: Vec<u8>,
    /// Its objects.
    pub objects: Vec<Sent>,
}

/// The newest groups.
#[derive(Debug)]
pub struct Broadcast {
    groups: VecDeque<Group>,
    /// Objects published so far, which is the number of the next one.
    published: u64,
}

impl Broadcast {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { groups: VecDeque::new(), published: 0 }
    }

    /// Objects published so far, which is the number of the next one.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// An object is about to be sent.
    pub fn publish(&mut self, object: &Object, at: Instant) {
        if object.id == 0 {
            while self.groups.front().is_some_and(|group| is_over(group, at)) {
                self.groups.pop_front();
            }
            self.groups.push_back(Group { id: object.group, bytes: Vec::new(), objects: Vec::new() });
        }
        let Some(group) = self.groups.back_mut() else { return };
        object.framed(false, &mut group.bytes);
        group.objects.push(Sent { number: self.published, at, end: group.bytes.len() });
        self.published += 1;
    }

    /// A group that is kept.
    pub fn group(&self, id: u64) -> Option<&Group> {
        self.groups.iter().rev().find(|group| group.id == id)
    }

    /// Whether any group has these bytes at this place behind the header. No two objects are alike, so chance does not.
    pub fn holds(&self, offset: usize, data: &[u8]) -> bool {
        let at = |group: &Group| group.bytes.get(offset..).is_some_and(|bytes| bytes.starts_with(data));
        self.groups.iter().rev().any(at)
    }
}

fn is_over(group: &Group, now: Instant) -> bool {
    group.objects.last().is_none_or(|last| now.saturating_duration_since(last.at) > LATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_kept_while_it_may_be_on_its_way() {
        let began = Instant::now();
        let mut broadcast = Broadcast::new();
        for group in 0..6u64 {
            for id in 0..2 {
                let at = began + Duration::from_secs(20 * (2 * group + id));
                broadcast.publish(&Object::synthetic(group, id, 100, id == 1), at);
            }
        }
        assert_eq!(broadcast.published(), 12);
        // Group 5 began at 200 s; group 2 ended at 100 s, group 3 at 140 s.
        assert!(broadcast.group(2).is_none());
        let group = broadcast.group(3).unwrap();
        assert_eq!(group.objects.iter().map(|object| object.number).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(group.objects[1].end, group.bytes.len());
        let bytes = group.bytes[20..60].to_vec();
        assert!(broadcast.holds(20, &bytes));
        assert!(!broadcast.holds(21, &bytes));
        assert!(!broadcast.holds(group.bytes.len(), &bytes));
    }
}
