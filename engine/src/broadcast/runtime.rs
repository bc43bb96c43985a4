//! The table `runtime.<i>`: what control and the monitor know of the inputs at home on this shard.

use std::collections::HashMap;

use streams_contract::{self as contract, RuntimeEntry};
use streams_rings::Table;

/// Writer of one shard's runtime table.
pub(super) struct RuntimeTable {
    table: Table,
    slots: HashMap<String, usize>,
}

impl RuntimeTable {
    pub(super) fn new(table: Table) -> Self {
        Self { table, slots: HashMap::new() }
    }

    /// Writes an input's entry over its old one. When the table is full the oldest knowledge stays and this one is not shown.
    pub(super) fn write(&mut self, entry: &RuntimeEntry) {
        let Ok(document) = contract::encode(entry) else { return };
        let slot = match self.slots.get(&entry.input) {
            Some(slot) => *slot,
            None => {
                let Some(slot) = self.table.find_free() else { return };
                self.slots.insert(entry.input.clone(), slot);
                slot
            }
        };
        if let Err(error) = self.table.write(slot, &document) {
            tracing::warn!(input = entry.input, %error, "the input's status could not be written");
        }
    }

    /// Removes an input's entry.
    pub(super) fn clear(&mut self, input: &str) {
        if let Some(slot) = self.slots.remove(input) {
            // A slot that cannot be cleared is overwritten by its next user.
            let _ = self.table.clear(slot);
        }
    }
}
