//! The group cache of one track: objects framed once, in the order they came, bounded by bytes and age.
//!
//! ```text
//!   groups (ascending id)   [ g-2 complete ][ g-1 complete ][ g open ]
//!                                              |
//!   subgroups (by id)          0: objects in id order ... end: Open | Finished | Reset
//! ```
//!
//! Viewers hold positions (`group, subgroup, index`) into it. An index counts from the first object the subgroup ever
//! had here, so that trimming the front of an endless group is seen by a cursor instead of moving it. What has to go, and
//! when: [`evict`].

pub(super) mod bounds;
pub(super) mod evict;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::wire::{Draft, Location, ObjectStatus, StreamResetCode, encode_object_head, object_id_delta, vi64};

/// Groups a track keeps, however small they are.
pub(crate) const GROUPS_MAX: usize = 512;
/// Largest object id that is kept: every object has a place after it.
pub(crate) const OBJECT_ID_MAX: u64 = u64::MAX - 1;
/// Subgroups of one group; a publisher that opens one for every object of a long group stays below it.
pub(crate) const SUBGROUPS_MAX: usize = 4_096;

/// One object, framed as it follows its predecessor on a subgroup stream.
#[derive(Debug, Clone)]
pub(crate) struct StoredObject {
    pub(crate) id: u64,
    /// Object ID Delta, properties when the subgroup carries them, payload length, status of an empty object, payload.
    pub(crate) framed: Bytes,
    /// Bytes of the delta in front of `framed`; a stream that begins here writes its own.
    pub(crate) delta_len: u8,
    pub(crate) payload_len: usize,
    /// Bytes of the encoded properties, without their length.
    pub(crate) properties_len: usize,
    /// `framed` has a properties field.
    pub(crate) properties: bool,
    pub(crate) status: ObjectStatus,
    /// Provably the next object of its subgroup after the one before it here (MoQT-18 §11.4.3).
    pub(crate) follows: bool,
    /// Counts the track's objects in the order they came.
    pub(crate) arrival: u64,
    pub(crate) at: Instant,
}

/// What an object costs beside its bytes: this, and the allocation. Without it a cache full of empty objects would take fifty
/// times its bound.
const OBJECT_COST: usize = std::mem::size_of::<StoredObject>() + 32;
/// The same of a subgroup, which may never get an object.
const SUBGROUP_COST: usize = std::mem::size_of::<Subgroup>();

impl StoredObject {
    /// Its memory.
    fn cost(&self) -> usize {
        self.framed.len().saturating_add(OBJECT_COST)
    }

    pub(crate) fn payload(&self) -> Bytes {
        self.framed.slice(self.framed.len().saturating_sub(self.payload_len)..)
    }

    /// The encoded properties, without their length.
    pub(crate) fn properties(&self) -> Bytes {
        // An empty payload is followed by the status, a single byte.
        let body_len = self.payload_len.max(1);
        let after = vi64::len(self.payload_len as u64) + body_len;
        let end = self.framed.len().saturating_sub(after);
        self.framed.slice(end.saturating_sub(self.properties_len)..end)
    }

    /// Everything after the delta.
    pub(crate) fn tail(&self) -> Bytes {
        self.framed.slice(usize::from(self.delta_len)..)
    }
}

/// How a subgroup's objects end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubgroupEnd {
    /// More may come.
    Open,
    /// All objects are here (those before the subscription's start aside).
    Finished,
    /// Some objects may never come; the stream reset code.
    Reset(u64),
}

/// What a subgroup header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubgroupInfo {
    pub(crate) id: u64,
    pub(crate) priority: u8,
    /// It has the group's last object.
    pub(crate) ends_group: bool,
    /// Its first object here is the first that was ever published in it.
    pub(crate) first_object: bool,
}

#[derive(Debug)]
pub(crate) struct Subgroup {
    pub(crate) info: SubgroupInfo,
    /// Counts the track's subgroups in the order they were opened; cursors find new ones by it.
    pub(crate) serial: u64,
    pub(crate) end: SubgroupEnd,
    objects: VecDeque<StoredObject>,
    trimmed: usize,
    /// Id of the newest object it ever had here.
    last_id: Option<u64>,
    /// A stream of it was reset, and no later one has brought all that is missing.
    cut: bool,
}

impl Subgroup {
    /// The object at a cursor's index; `Err` when it was trimmed away.
    pub(crate) fn object(&self, index: usize) -> Result<Option<&StoredObject>, Trimmed> {
        let position = index.checked_sub(self.trimmed).ok_or(Trimmed)?;
        Ok(self.objects.get(position))
    }

    /// One past the last object's index.
    pub(crate) fn index_end(&self) -> usize {
        self.trimmed + self.objects.len()
    }

    /// The first index whose object satisfies `wanted`, which is false up to a point and true from there on.
    pub(crate) fn first_index(&self, wanted: impl Fn(&StoredObject) -> bool) -> usize {
        self.trimmed + self.objects.partition_point(|object| !wanted(object))
    }

    pub(crate) fn objects(&self) -> impl DoubleEndedIterator<Item = &StoredObject> {
        self.objects.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Nothing more comes on its stream. A later stream that went on without a hole, and ended well, makes up for one that was
    /// reset.
    fn finish(&mut self, end: SubgroupEnd) {
        self.end = end;
        self.cut = match end {
            SubgroupEnd::Reset(_) => true,
            SubgroupEnd::Finished | SubgroupEnd::Open => self.cut && !self.objects.iter().all(|object| object.follows),
        };
    }

    fn after(&self, id: Option<u64>) -> Option<&StoredObject> {
        let position = self.objects.partition_point(|object| id.is_some_and(|id| object.id <= id));
        self.objects.get(position)
    }
}

/// A cursor points at an object that the cache no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trimmed;

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    /// In the order of their serials.
    pub(crate) subgroups: Vec<Subgroup>,
    len: usize,
    /// Objects of it that are here.
    count: usize,
    newest_at: Instant,
    /// Objects of the group were lost on the way from another shard.
    lost: bool,
}

impl Group {
    pub(crate) fn subgroup(&self, id: u64) -> Option<&Subgroup> {
        self.subgroups.iter().find(|subgroup| subgroup.info.id == id)
    }

    /// Objects of the group that were published may be missing here.
    pub(crate) fn is_lossy(&self) -> bool {
        self.lost || self.subgroups.iter().any(|subgroup| subgroup.cut)
    }

    /// How a subgroup ends for a subscriber: objects that came through are sent, and then a reset says that they were not all
    /// (MoQT-18 §11.4.3).
    pub(crate) fn end_of(&self, subgroup: &Subgroup) -> SubgroupEnd {
        match subgroup.end {
            SubgroupEnd::Finished if self.lost || subgroup.cut => {
                SubgroupEnd::Reset(StreamResetCode::Internal.to_u64())
            }
            end => end,
        }
    }

    fn is_complete(&self) -> bool {
        self.subgroups.iter().all(|subgroup| subgroup.end != SubgroupEnd::Open)
            && self.subgroups.iter().any(|subgroup| !subgroup.is_empty())
    }

    /// The object with the smallest id above `after`, over all subgroups.
    pub(crate) fn next_object(&self, after: Option<u64>) -> Option<(&Subgroup, &StoredObject)> {
        let candidates = self.subgroups.iter().filter_map(|subgroup| Some((subgroup, subgroup.after(after)?)));
        candidates.min_by_key(|(_, object)| object.id)
    }
}

/// A new object.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) id: u64,
    pub(crate) status: ObjectStatus,
    /// Encoded pairs; `None` when the subgroup carries no properties.
    pub(crate) properties: Option<Bytes>,
    pub(crate) payload: Bytes,
    /// It came right behind the cached subgroup's last object on the same stream.
    pub(crate) adjacent: bool,
}

/// What became of a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the cache.
    New,
    /// It was there already.
    Duplicate,
    /// Later objects of its subgroup were already handed out, or its group was evicted.
    Late,
}

#[derive(Debug, Default)]
pub(crate) struct GroupCache {
    groups: VecDeque<Group>,
    len: usize,
    arrivals: u64,
    subgroup_serial: u64,
    largest: Option<Location>,
    /// Everything from here on that was published is in the cache, lossy groups aside.
    complete_from: Location,
    /// The objects right before this place were here, and had to go although their group is still open.
    trimmed_to: Option<Location>,
}

impl GroupCache {
    /// Memory of all objects and subgroups, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The arrival number that the next object gets.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The serial that the next subgroup gets.
    pub(crate) fn subgroup_serial(&self) -> u64 {
        self.subgroup_serial
    }

    pub(crate) fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// An upstream told of objects that this cache does not have.
    pub(crate) fn raise_largest(&mut self, largest: Location) {
        // The largest id has no successor, and is not an object anywhere here.
        let object = largest.object.min(OBJECT_ID_MAX);
        self.largest = self.largest.max(Some(Location { object, ..largest }));
    }

    pub(crate) fn complete_from(&self) -> Location {
        self.complete_from
    }

    /// Where the objects begin of which older ones had to go although their group was open.
    pub(crate) fn trimmed_to(&self) -> Option<Location> {
        self.trimmed_to
    }

    /// Objects before `location` were not received.
    pub(crate) fn set_complete_from(&mut self, location: Location) {
        self.complete_from = self.complete_from.max(location);
    }

    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = &Group> {
        self.groups.iter()
    }

    /// The largest group id that has an object.
    pub(crate) fn newest_group(&self) -> Option<u64> {
        self.groups.back().map(|group| group.id)
    }

    pub(crate) fn group(&self, id: u64) -> Option<&Group> {
        let back = self.groups.back()?;
        if back.id == id {
            return Some(back);
        }
        let index = self.groups.binary_search_by_key(&id, |group| group.id).ok()?;
        self.groups.get(index)
    }

    /// The first group at or after `id`.
    pub(crate) fn group_from(&self, id: u64) -> Option<&Group> {
        self.groups.get(self.groups.partition_point(|group| group.id < id))
    }

    /// The last group at or before `id`.
    pub(crate) fn group_until(&self, id: u64) -> Option<&Group> {
        let end = self.groups.partition_point(|group| group.id <= id);
        self.groups.get(end.checked_sub(1)?)
    }

    fn group_mut(&mut self, id: u64) -> Option<&mut Group> {
        let index = self.groups.binary_search_by_key(&id, |group| group.id).ok()?;
        self.groups.get_mut(index)
    }

    /// Makes sure the subgroup exists. `false`: its group was evicted, or a bound was reached.
    pub(crate) fn open_subgroup(&mut self, now: Instant, group: u64, info: SubgroupInfo) -> bool {
        let index = match self.groups.binary_search_by_key(&group, |group| group.id) {
            Ok(index) => index,
            Err(0) if self.complete_from.group > group && !self.groups.is_empty() => return false,
            Err(_) if self.groups.len() >= GROUPS_MAX => return false,
            Err(index) => {
                let new = Group { id: group, subgroups: Vec::new(), len: 0, count: 0, newest_at: now, lost: false };
                self.groups.insert(index, new);
                index
            }
        };
        let Some(group) = self.groups.get_mut(index) else { return false };
        if let Some(index) = group.subgroups.iter().position(|subgroup| subgroup.info.id == info.id) {
            // A new upstream stream goes on where a reset one stopped.
            if matches!(group.subgroups.get(index).map(|subgroup| subgroup.end), Some(SubgroupEnd::Reset(_))) {
                let reopened =
                    Subgroup { end: SubgroupEnd::Open, serial: self.subgroup_serial, ..group.subgroups.remove(index) };
                group.subgroups.push(reopened);
                self.subgroup_serial += 1;
            }
            return true;
        }
        if group.subgroups.len() >= SUBGROUPS_MAX {
            return false;
        }
        let serial = self.subgroup_serial;
        self.subgroup_serial += 1;
        let objects = VecDeque::new();
        let (end, last_id) = (SubgroupEnd::Open, None);
        group.subgroups.push(Subgroup { info, serial, end, objects, trimmed: 0, last_id, cut: false });
        group.len += SUBGROUP_COST;
        self.len += SUBGROUP_COST;
        true
    }

    /// Id of the newest object of a subgroup.
    pub(crate) fn last_id(&self, group: u64, subgroup: u64) -> Option<u64> {
        self.group(group)?.subgroup(subgroup)?.last_id
    }

    /// Objects of a group are missing here that were published.
    pub(crate) fn mark_lossy(&mut self, group: u64) {
        if let Some(group) = self.group_mut(group) {
            group.lost = true;
        }
    }

    /// Adds an object to an open subgroup.
    pub(crate) fn push(&mut self, now: Instant, group_id: u64, subgroup_id: u64, object: NewObject) -> Pushed {
        let arrival = self.arrivals;
        let location = Location::new(group_id, object.id);
        let Some(group) = self.group_mut(group_id) else { return Pushed::Late };
        let Some(subgroup) = group.subgroups.iter_mut().find(|subgroup| subgroup.info.id == subgroup_id) else {
            return Pushed::Late;
        };
        let previous = subgroup.last_id;
        let Some(delta) = object_id_delta(previous, object.id) else {
            let known = subgroup.objects.binary_search_by_key(&object.id, |object| object.id).is_ok();
            return if known { Pushed::Duplicate } else { Pushed::Late };
        };
        if subgroup.end == SubgroupEnd::Finished || object.id > OBJECT_ID_MAX {
            return Pushed::Late;
        }
        let follows = previous.is_none() || delta == 0 || object.adjacent;
        let stored = frame(now, delta, follows, arrival, object);
        let len = stored.cost();
        subgroup.last_id = Some(location.object);
        subgroup.objects.push_back(stored);
        group.len += len;
        group.count += 1;
        group.newest_at = now;
        self.len += len;
        self.arrivals += 1;
        self.largest = self.largest.max(Some(location));
        Pushed::New
    }

    /// Ends a subgroup; `false` when it was not open.
    pub(crate) fn end_subgroup(&mut self, group_id: u64, subgroup_id: u64, end: SubgroupEnd) -> bool {
        let Some(group) = self.group_mut(group_id) else { return false };
        let Some(subgroup) = group.subgroups.iter_mut().find(|subgroup| subgroup.info.id == subgroup_id) else {
            return false;
        };
        if subgroup.end != SubgroupEnd::Open {
            return false;
        }
        subgroup.finish(end);
        true
    }

    /// Ends every open subgroup.
    pub(crate) fn end_all(&mut self, end: SubgroupEnd) {
        for group in &mut self.groups {
            for subgroup in &mut group.subgroups {
                if subgroup.end == SubgroupEnd::Open {
                    subgroup.finish(end);
                }
            }
        }
    }
}

fn frame(now: Instant, delta: u64, follows: bool, arrival: u64, object: NewObject) -> StoredObject {
    let properties = object.properties.as_deref();
    let properties_len = properties.map_or(0, <[u8]>::len);
    // Delta, properties' length, payload's length, status: at most nine bytes each.
    let mut framed = BytesMut::with_capacity(4 * vi64::LEN_MAX + properties_len + object.payload.len());
    encode_object_head(Draft::D18, delta, properties, object.payload.len(), object.status, &mut framed);
    framed.extend_from_slice(&object.payload);
    StoredObject {
        id: object.id,
        framed: framed.freeze(),
        delta_len: vi64::len(delta) as u8,
        payload_len: object.payload.len(),
        properties_len,
        properties: properties.is_some(),
        status: object.status,
        follows,
        arrival,
        at: now,
    }
}
