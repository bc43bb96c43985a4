//! Which namespaces are published on which shard: this shard's directory in shared memory, and a mirror of the others'.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use streams_relay_core::relay::{Namespace, Relay};
use streams_rings::schema::{self, HexBytes, TrackEntry, names};
use streams_rings::{RingsError, Table, Workspace};

/// The track directories of all shards as one shard sees them.
pub struct Announced {
    shard: usize,
    own: Table,
    slots: HashMap<Namespace, usize>,
    others: Vec<Option<Directory>>,
    epoch: u64,
    /// Withdrawn here, still in the directory.
    leaving: Vec<Namespace>,
}

struct Directory {
    table: Table,
    seen: u64,
    versions: Vec<u64>,
    entries: Vec<Option<Namespace>>,
    raw: Vec<u8>,
}

impl Announced {
    /// Joins the directories of all shards.
    pub fn join(shards: &Workspace, shard: usize, count: usize) -> Result<Self, RingsError> {
        let others = (0..count).map(|other| {
            let join = || -> Result<Directory, RingsError> {
                let table = shards.table(&names::tracks(other))?;
                let entries = table.entries();
                Ok(Directory {
                    table,
                    seen: u64::MAX,
                    versions: vec![0; entries],
                    entries: vec![None; entries],
                    raw: Vec::new(),
                })
            };
            (other != shard).then(join).transpose()
        });
        Ok(Self {
            shard,
            own: shards.table(&names::tracks(shard))?,
            slots: HashMap::new(),
            others: others.collect::<Result<_, _>>()?,
            epoch: 0,
            leaving: Vec::new(),
        })
    }

    /// Tells the other shards that `namespace` is published here. False when the directory is full.
    pub fn announce(&mut self, namespace: &Namespace) -> bool {
        self.leaving.retain(|leaving| leaving != namespace);
        if self.slots.contains_key(namespace) {
            return true;
        }
        self.epoch += 1;
        let entry = TrackEntry {
            namespace: namespace.0.iter().map(|field| HexBytes(field.to_vec())).collect(),
            name: None,
            shard: self.shard,
            epoch: self.epoch,
        };
        let Some(slot) = self.own.find_free() else { return false };
        let written = schema::encode(&entry).is_ok_and(|document| self.own.write(slot, &document).is_ok());
        if written {
            self.slots.insert(namespace.clone(), slot);
        }
        written
    }

    /// Withdraws a namespace; other shards see it after [`Announced::commit`].
    pub fn withdraw(&mut self, namespace: &Namespace) {
        self.leaving.push(namespace.clone());
    }

    /// Takes withdrawn namespaces out of the directory. Called when everything that this shard said about their tracks is in
    /// the links, so that others learn of a track's end before its namespace goes.
    pub fn commit(&mut self) {
        for namespace in std::mem::take(&mut self.leaving) {
            if let Some(slot) = self.slots.remove(&namespace) {
                // A slot that cannot be cleared was not written by this shard; then there is nothing to withdraw.
                let _ = self.own.clear(slot);
            }
        }
    }

    /// Whether another shard's directory changed since the last refresh.
    pub fn changed(&self) -> bool {
        self.others.iter().flatten().any(|directory| directory.table.version() != directory.seen)
    }

    /// Tells the relay what changed on other shards. True when something did.
    pub fn refresh(&mut self, now: Instant, relay: &mut Relay) -> bool {
        let mut changed = false;
        for (other, directory) in self.others.iter_mut().enumerate() {
            if let Some(directory) = directory {
                changed |= directory.refresh(now, other, relay);
            }
        }
        changed
    }
}

impl Directory {
    fn refresh(&mut self, now: Instant, shard: usize, relay: &mut Relay) -> bool {
        let version = self.table.version();
        if version == self.seen {
            return false;
        }
        self.seen = version;
        for (index, (seen, entry)) in self.versions.iter_mut().zip(self.entries.iter_mut()).enumerate() {
            let current = self.table.entry_version(index);
            if *seen == current {
                continue;
            }
            *seen = current;
            let fresh = self.table.read(index, &mut self.raw).and_then(|_| namespace_of(&self.raw));
            if let Some(old) = entry.take().filter(|old| fresh.as_ref() != Some(old)) {
                relay.remote_namespace_down(now, old, shard);
            }
            if let Some(namespace) = fresh {
                relay.remote_namespace_up(now, namespace.clone(), shard);
                *entry = Some(namespace);
            }
        }
        true
    }
}

fn namespace_of(document: &[u8]) -> Option<Namespace> {
    let entry: TrackEntry = schema::decode(document).ok()?;
    Some(Namespace(entry.namespace.into_iter().map(|field| Bytes::from(field.0)).collect()))
}
