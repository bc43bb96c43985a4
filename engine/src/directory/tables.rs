//! The shard's mirror of control's tables, and its answers to the relay's questions.
//!
//! Table entries are JSON documents in shared memory. Looking one up there for every SUBSCRIBE would parse it every time, so a
//! shard keeps maps of its own and reads an entry again only when that entry's version moved.

use std::collections::{HashMap, HashSet};

use ring::digest;
use streams_contract::{self as contract, InputEntry, ResourceEntry, SigningKeyEntry, names};
use streams_relay_core::relay::{Directory, Resource, SigningAlgorithm, SigningKey};
use streams_rings::{RingsError, Table, TableRead, Workspace};

/// What changed in one refresh that a running session may have to feel.
#[derive(Debug, Default)]
pub struct Changes {
    /// Inputs whose entry changed or went.
    pub inputs: Vec<String>,
    /// Resources that were removed or disabled.
    pub resources_off: Vec<String>,
    /// Signing keys that were removed or revoked.
    pub keys_off: Vec<String>,
}

/// What reading tables came to, in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadStats {
    /// Tables read again after a change.
    pub reloads: u64,
    /// Entries that could not be read.
    pub bad_entries: u64,
    /// Entries that were written so fast that reading them was put off.
    pub busy_entries: u64,
}

/// An accepted stream key: the input's place in the table, and the input.
#[derive(Clone, Debug)]
pub struct KeyOwner {
    /// Index in the table `inputs` and in the words `homes`.
    pub index: usize,
    /// The input.
    pub entry: InputEntry,
}

/// Mirror of the tables that control writes.
pub struct Tables {
    inputs: Mirror<InputEntry>,
    resources: Mirror<ResourceEntry>,
    signing_keys: Mirror<SigningKeyEntry>,
    input_by_id: HashMap<String, usize>,
    input_by_key: HashMap<String, usize>,
    resource_by_id: HashMap<String, usize>,
    key_by_kid: HashMap<String, usize>,
}

impl Tables {
    /// Joins the tables of the workspace `control`; everything is read at the first refresh.
    pub fn join(control: &Workspace) -> Result<Self, RingsError> {
        Ok(Self {
            inputs: Mirror::new(control.table(names::INPUTS)?),
            resources: Mirror::new(control.table(names::RESOURCES)?),
            signing_keys: Mirror::new(control.table(names::SIGNING_KEYS)?),
            input_by_id: HashMap::new(),
            input_by_key: HashMap::new(),
            resource_by_id: HashMap::new(),
            key_by_kid: HashMap::new(),
        })
    }

    /// Takes over what control wrote since the last call. Cheap when nothing changed.
    pub fn refresh(&mut self, stats: &mut ReadStats) -> Changes {
        let mut changes = Changes::default();
        if self.inputs.refresh(stats, |old, _| changes.inputs.extend(old.map(|entry| entry.id.clone()))) {
            stats.reloads += 1;
            self.input_by_id = index(&self.inputs.entries, |entry| vec![entry.id.clone()]);
            self.input_by_key =
                index(&self.inputs.entries, |entry| entry.key_hashes.iter().map(|key| key.sha256.clone()).collect());
        }
        let resource_gone = |old: Option<&ResourceEntry>, new: Option<&ResourceEntry>| {
            let old = old.filter(|old| old.enabled)?;
            (!new.is_some_and(|new| new.enabled && new.id == old.id)).then(|| old.id.clone())
        };
        if self.resources.refresh(stats, |old, new| changes.resources_off.extend(resource_gone(old, new))) {
            stats.reloads += 1;
            self.resource_by_id = index(&self.resources.entries, |entry| vec![entry.id.clone()]);
        }
        let key_gone = |old: Option<&SigningKeyEntry>, new: Option<&SigningKeyEntry>| {
            let old = old.filter(|old| !old.revoked)?;
            (!new.is_some_and(|new| !new.revoked && new.kid == old.kid)).then(|| old.kid.clone())
        };
        if self.signing_keys.refresh(stats, |old, new| changes.keys_off.extend(key_gone(old, new))) {
            stats.reloads += 1;
            self.key_by_kid = index(&self.signing_keys.entries, |entry| vec![entry.kid.clone()]);
        }
        changes
    }

    /// The input with this id.
    pub fn input(&self, id: &str) -> Option<KeyOwner> {
        let index = *self.input_by_id.get(id)?;
        Some(KeyOwner { index, entry: self.inputs.get(index)?.clone() })
    }

    /// Ids of all inputs.
    pub fn input_ids(&self) -> HashSet<String> {
        self.input_by_id.keys().cloned().collect()
    }

    /// The input that `key` belongs to, whether enabled or not. The key is compared by its hash: the table holds no key,
    /// and a look-up of a hash tells nothing by its timing.
    pub fn input_of_key(&self, key: &str, unix_now_ms: u64) -> Option<KeyOwner> {
        let hash = sha256_hex(key.as_bytes());
        let index = *self.input_by_key.get(&hash)?;
        let entry = self.inputs.get(index)?;
        let good = entry
            .key_hashes
            .iter()
            .any(|known| known.sha256 == hash && known.expires_at_ms.is_none_or(|end| unix_now_ms < end));
        good.then(|| KeyOwner { index, entry: entry.clone() })
    }
}

impl Directory for Tables {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        let entry = self.signing_keys.get(*self.key_by_kid.get(kid)?)?;
        Some(SigningKey {
            alg: SigningAlgorithm::from_name(entry.alg.as_str())?,
            org: entry.org.clone(),
            public_key_pem: entry.public_key_pem.clone(),
            revoked: entry.revoked,
        })
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        let entry = self.resources.get(*self.resource_by_id.get(id)?)?;
        Some(Resource { canonical: entry.canonical.clone(), org: entry.org.clone(), enabled: entry.enabled })
    }

    fn publish_key_ok(&self, input_id: &str, key: &str, unix_now_ms: u64) -> bool {
        self.input_of_key(key, unix_now_ms).is_some_and(|owner| owner.entry.id == input_id && owner.entry.enabled)
    }
}

/// Lower-case hex SHA-256, as the tables hold it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

fn index<T>(entries: &[Option<T>], keys: impl Fn(&T) -> Vec<String>) -> HashMap<String, usize> {
    let numbered = entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.as_ref()?)));
    numbered.flat_map(|(index, entry)| keys(entry).into_iter().map(move |key| (key, index))).collect()
}

/// Decoded copies of one table's entries.
struct Mirror<T> {
    table: Table,
    seen: Option<u64>,
    versions: Vec<u64>,
    entries: Vec<Option<T>>,
    raw: Vec<u8>,
}

impl<T: serde::de::DeserializeOwned> Mirror<T> {
    fn new(table: Table) -> Self {
        let count = table.entries();
        Self {
            table,
            seen: None,
            versions: vec![0; count],
            entries: (0..count).map(|_| None).collect(),
            raw: Vec::new(),
        }
    }

    fn get(&self, index: usize) -> Option<&T> {
        self.entries.get(index)?.as_ref()
    }

    /// True when anything changed. `changed` sees every entry's old and new content.
    fn refresh(&mut self, stats: &mut ReadStats, mut changed: impl FnMut(Option<&T>, Option<&T>)) -> bool {
        let version = self.table.version();
        if self.seen == Some(version) {
            return false;
        }
        // Taken before the entries are read: a write in between shows as a newer version at the next refresh.
        self.seen = Some(version);
        for (index, (seen, entry)) in self.versions.iter_mut().zip(self.entries.iter_mut()).enumerate() {
            let current = self.table.entry_version(index);
            if *seen == current {
                continue;
            }
            let fresh = match self.table.read(index, &mut self.raw) {
                TableRead::Entry(_) => match contract::decode::<T>(&self.raw) {
                    Ok(document) => Some(document),
                    Err(_) => {
                        stats.bad_entries += 1;
                        None
                    }
                },
                TableRead::Empty => None,
                // What is known of it counts until the next refresh.
                TableRead::Busy => {
                    stats.busy_entries += 1;
                    self.seen = None;
                    continue;
                }
            };
            changed(entry.as_ref(), fresh.as_ref());
            *entry = fresh;
            *seen = current;
        }
        true
    }
}
