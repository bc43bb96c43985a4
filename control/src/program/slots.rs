//! Which entry of a table belongs to which id. An id keeps its entry for as long as it exists, over restarts of control
//! too: the engine finds an input's home by its entry's index.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use streams_contract as contract;
use streams_rings::Table;

use crate::Error;

/// A document that is found by an id.
pub trait Keyed: Serialize + DeserializeOwned {
    /// The table's name, for errors.
    const TABLE: &'static str;
    /// The id.
    fn id(&self) -> &str;
}

/// A table of documents.
pub struct Slots<T> {
    table: Table,
    by_id: HashMap<String, usize>,
    free: Vec<usize>,
    document: std::marker::PhantomData<fn() -> T>,
}

impl<T: Keyed> Slots<T> {
    /// Learns which ids have which entries.
    pub fn new(table: Table) -> Self {
        let (mut by_id, mut free, mut bytes) = (HashMap::new(), Vec::new(), Vec::new());
        for i in (0..table.entries()).rev() {
            let id = table
                .read(i, &mut bytes)
                .version()
                .and_then(|_| contract::decode::<T>(&bytes).ok())
                .map(|d| d.id().to_owned());
            match id {
                Some(id) if !by_id.contains_key(&id) => {
                    by_id.insert(id, i);
                }
                _ => free.push(i),
            }
        }
        Self { table, by_id, free, document: std::marker::PhantomData }
    }

    /// Makes the table hold exactly `documents`: each one is written in place, what is left over is cleared.
    pub fn fill(&mut self, documents: &[T]) -> Result<(), Error> {
        self.retain(&documents.iter().map(T::id).collect())?;
        for i in &self.free {
            self.table.clear(*i)?;
        }
        documents.iter().try_for_each(|document| self.put(document))
    }

    /// Clears the entries of all other ids.
    pub fn retain(&mut self, wanted: &HashSet<&str>) -> Result<(), Error> {
        let gone: Vec<String> = self.by_id.keys().filter(|id| !wanted.contains(id.as_str())).cloned().collect();
        gone.iter().try_for_each(|id| self.remove(id))
    }

    /// The document of an id.
    pub fn get(&self, id: &str) -> Option<T> {
        let mut bytes = Vec::new();
        self.table.read(*self.by_id.get(id)?, &mut bytes).version()?;
        contract::decode(&bytes).ok()
    }

    /// Writes one document.
    pub fn put(&mut self, document: &T) -> Result<(), Error> {
        let bytes = contract::encode(document)?;
        if let Some(i) = self.by_id.get(document.id()) {
            return Ok(self.table.write(*i, &bytes)?);
        }
        let full = Error::TableFull { table: T::TABLE, entries: self.table.entries() };
        let i = *self.free.last().ok_or(full)?;
        self.table.write(i, &bytes)?;
        self.free.pop();
        self.by_id.insert(document.id().to_owned(), i);
        Ok(())
    }

    /// Whether an id has an entry.
    pub fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Clears the entry of an id; nothing when it has none.
    pub fn remove(&mut self, id: &str) -> Result<(), Error> {
        if let Some(i) = self.by_id.get(id).copied() {
            self.table.clear(i)?;
            self.by_id.remove(id);
            self.free.push(i);
        }
        Ok(())
    }
}
