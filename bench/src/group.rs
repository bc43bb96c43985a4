//! How every track of the bench is cut: a group is one subgroup, from its first object to its last.

use streams_relay_core::wire::{SubgroupHeader, SubgroupId};

/// Publisher priority of the one track: in the middle.
const PRIORITY: u8 = 128;

/// The head of a group's stream.
pub fn header(track_alias: u64, group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(PRIORITY),
        properties: false,
        end_of_group: true,
        first_object: true,
    }
}
