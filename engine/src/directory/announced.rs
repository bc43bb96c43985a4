//! Which namespaces are published on which shard: this shard's directory in shared memory, and a mirror of the others'.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use streams_contract::{self as contract, HexBytes, TrackEntry, names};
use streams_relay_core::relay::{Namespace, Relay, offered_track};
use streams_rings::{RingsError, Table, TableRead, Workspace};

/// Entries under one tenant's namespace, tracks that its publishers offer included. Without it a single publisher could fill
/// the directory, and the inputs of others would be unknown on other shards.
const TENANT_MAX: usize = 96;
/// First field of the namespace of an input: `stream`, org, id.
const INPUT_ROOT: &[u8] = b"stream";
/// Fields of such a namespace. What any namespace begins with tells tenants apart.
const INPUT_FIELDS: usize = 3;
/// Fields that tell orgs apart.
const ORG_FIELDS: usize = 2;
/// Namespaces that wait for room in the directory.
const UNHEARD_MAX: usize = 1_024;

/// The track directories of all shards as one shard sees them.
pub struct Announced {
    shard: usize,
    own: Table,
    slots: HashMap<Namespace, usize>,
    /// How many of those each tenant has, and each org.
    tenants: HashMap<Vec<Bytes>, usize>,
    others: Vec<Option<Directory>>,
    epoch: u64,
    /// Withdrawn here, still in the directory.
    leaving: Vec<Namespace>,
    /// Announced here when the directory had no room; entered when it has.
    unheard: VecDeque<Namespace>,
}

struct Directory {
    table: Table,
    seen: u64,
    versions: Vec<u64>,
    entries: Vec<Option<Namespace>>,
    raw: Vec<u8>,
    busy_entries: u64,
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
                    busy_entries: 0,
                })
            };
            (other != shard).then(join).transpose()
        });
        Ok(Self {
            shard,
            own: shards.table(&names::tracks(shard))?,
            slots: HashMap::new(),
            tenants: HashMap::new(),
            others: others.collect::<Result<_, _>>()?,
            epoch: 0,
            leaving: Vec::new(),
            unheard: VecDeque::new(),
        })
    }

    /// Tells the other shards that `namespace` is published here. False when the directory has no room for it: then they learn
    /// it once others were withdrawn.
    pub fn announce(&mut self, namespace: &Namespace) -> bool {
        self.leaving.retain(|leaving| leaving != namespace);
        if self.slots.contains_key(namespace) {
            return true;
        }
        let entered = self.enter(namespace);
        if !entered && !self.unheard.contains(namespace) && self.unheard.len() < UNHEARD_MAX {
            self.unheard.push_back(namespace.clone());
        }
        entered
    }

    fn enter(&mut self, namespace: &Namespace) -> bool {
        let (tenant, org) = (tenant_of(namespace), org_of(namespace));
        let held = |whose: &[Bytes]| self.tenants.get(whose).copied().unwrap_or_default();
        let of_org = org.as_deref().map_or(0, held);
        // The last quarter is for inputs, whatever publishers announce, and those of one org get no more than half.
        let entries = self.own.entries();
        let full = self.slots.len() >= entries / 4 * 3 || of_org >= entries / 2;
        if (full && !is_input(namespace)) || held(&tenant) >= TENANT_MAX {
            return false;
        }
        self.epoch += 1;
        let entry = TrackEntry {
            namespace: namespace.0.iter().map(|field| HexBytes(field.to_vec())).collect(),
            name: None,
            shard: self.shard,
            epoch: self.epoch,
        };
        let Some(slot) = self.own.find_free() else { return false };
        let written = contract::encode(&entry).is_ok_and(|document| self.own.write(slot, &document).is_ok());
        if written {
            self.slots.insert(namespace.clone(), slot);
            for whose in org.into_iter().chain([tenant]) {
                *self.tenants.entry(whose).or_default() += 1;
            }
        }
        written
    }

    /// Withdraws a namespace; other shards see it after [`Announced::commit`].
    pub fn withdraw(&mut self, namespace: &Namespace) {
        self.unheard.retain(|unheard| unheard != namespace);
        self.leaving.push(namespace.clone());
    }

    /// Takes withdrawn namespaces out of the directory. Called when everything that this shard said about their tracks is in
    /// the links, so that others learn of a track's end before its namespace goes.
    pub fn commit(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        for namespace in std::mem::take(&mut self.leaving) {
            if let Some(slot) = self.slots.remove(&namespace) {
                for whose in org_of(&namespace).into_iter().chain([tenant_of(&namespace)]) {
                    self.leave(&whose);
                }
                // A slot that cannot be cleared was not written by this shard; then there is nothing to withdraw.
                let _ = self.own.clear(slot);
            }
        }
        for namespace in std::mem::take(&mut self.unheard) {
            self.announce(&namespace);
        }
    }

    fn leave(&mut self, tenant: &[Bytes]) {
        if let Some(count) = self.tenants.get_mut(tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.tenants.remove(tenant);
            }
        }
    }

    /// Entries of other shards that were written so fast that reading them was put off, in all.
    pub fn busy_entries(&self) -> u64 {
        self.others.iter().flatten().map(|directory| directory.busy_entries).sum()
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
            let fresh = match self.table.read(index, &mut self.raw) {
                TableRead::Entry(_) => namespace_of(&self.raw),
                TableRead::Empty => None,
                // What is known of it counts until the next refresh.
                TableRead::Busy => {
                    self.seen = version.wrapping_sub(1);
                    self.busy_entries += 1;
                    continue;
                }
            };
            *seen = current;
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
    let entry: TrackEntry = contract::decode(document).ok()?;
    Some(Namespace(entry.namespace.into_iter().map(|field| Bytes::from(field.0)).collect()))
}

/// Namespace fields that tell whose it is.
fn tenant_of(namespace: &Namespace) -> Vec<Bytes> {
    let namespace = offered_track(namespace).map_or_else(|| namespace.clone(), |track| track.namespace);
    namespace.0.into_iter().take(INPUT_FIELDS).collect()
}

/// Namespace fields that tell which org it belongs to; `None` for names outside the service.
fn org_of(namespace: &Namespace) -> Option<Vec<Bytes>> {
    let tenant = tenant_of(namespace);
    let ours = tenant.len() == INPUT_FIELDS && tenant.first().is_some_and(|root| root == INPUT_ROOT);
    ours.then(|| tenant.into_iter().take(ORG_FIELDS).collect())
}

/// Whether it may be an input of the ingest; open publishers cannot announce such a namespace.
fn is_input(namespace: &Namespace) -> bool {
    namespace.0.len() == INPUT_FIELDS && namespace.0.first().is_some_and(|root| root == INPUT_ROOT)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use streams_contract::{ShardsSizes, shards_workspace};

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn joined(test: &str) -> (Announced, Announced, Folder) {
        let folder = Folder(std::env::temp_dir().join(format!("streams-announced-{}-{test}", std::process::id())));
        std::fs::create_dir(&folder.0).unwrap();
        let sizes = ShardsSizes { rx_len: 1 << 20, media_len: 1 << 20, ask_len: 1 << 20, ..ShardsSizes::default() };
        let shards = shards_workspace(2, sizes).create(folder.0.join("shards.1")).unwrap();
        (Announced::join(&shards, 0, 2).unwrap(), Announced::join(&shards, 1, 2).unwrap(), folder)
    }

    fn name(fields: &[&str]) -> Namespace {
        Namespace::new(fields).unwrap()
    }

    #[test]
    fn one_publisher_cannot_keep_the_inputs_of_others_out_of_the_directory() {
        let (mut own, _, _folder) = joined("tenants");
        let offered = |n: usize| name(&[".track", &n.to_string(), "stream", "org_1", "lv_1"]);
        let taken = (0..200).filter(|n| own.announce(&offered(*n))).count();
        assert_eq!(taken, TENANT_MAX);
        assert!(!own.announce(&name(&["stream", "org_1", "lv_1", "below"])));
        // Nor can many publishers together.
        let taken = (0..2_000).filter(|n| own.announce(&name(&["open", &n.to_string()]))).count();
        assert_eq!(taken, 1_024 / 4 * 3 - TENANT_MAX);
        assert!(own.announce(&name(&["stream", "org_2", "lv_2"])));
    }

    #[test]
    fn the_publishers_of_one_org_leave_room_for_those_of_others() {
        let (mut own, _, _folder) = joined("orgs");
        let mut offered = |org: &str, input: usize, n: usize| {
            own.announce(&name(&[".track", &n.to_string(), "stream", org, &format!("lv_{input}")]))
        };
        let taken = (0..20).flat_map(|input| (0..64).map(move |n| (input, n)));
        assert_eq!(taken.filter(|(input, n)| offered("org_1", *input, *n)).count(), 512);
        assert!((0..64).all(|n| offered("org_2", 1, n)));
        assert!(own.announce(&name(&["stream", "org_1", "lv_100"])), "its inputs are known all the same");
    }

    #[test]
    fn a_namespace_that_found_no_room_is_entered_when_there_is_some() {
        let (mut own, mut other, _folder) = joined("later");
        let below = |n: usize| name(&["stream", "org_1", "lv_1", &n.to_string()]);
        (0..TENANT_MAX).for_each(|n| assert!(own.announce(&below(n))));
        let (late, gone) = (below(1_000), below(1_001));
        assert!(!own.announce(&late) && !own.announce(&gone));
        own.withdraw(&gone);
        own.withdraw(&below(3));
        own.commit();
        assert!(own.slots.contains_key(&late) && !own.slots.contains_key(&gone));
        let mut relay = Relay::new(streams_relay_core::relay::RelayConfig::default());
        assert!(other.refresh(Instant::now(), &mut relay));
        let known = other.others[0].as_ref().unwrap().entries.iter().flatten();
        assert_eq!(known.filter(|known| **known == late).count(), 1);
    }
}
