//! Rows of the store as documents of the tables.

use std::sync::Arc;

use streams_contract as contract;
use streams_contract::{InputEntry, KeyHash, Passphrase, ResourceEntry, SigningKeyEntry, Tunable, Tunables, names};
use streams_rings::{Table, Workspace};
use tracing::warn;

use super::Contents;
use super::slots::{Keyed, Slots};
use crate::Error;
use crate::keys::Vault;
use crate::store::{LiveInput, SigningKey};

/// Stream keys of an input that the table holds: the newest, and those still in grace. An entry has 1 KiB.
pub const KEYS_OF_INPUT_MAX: usize = 4;

impl Keyed for InputEntry {
    const TABLE: &'static str = names::INPUTS;
    fn id(&self) -> &str {
        &self.id
    }
}

impl Keyed for ResourceEntry {
    const TABLE: &'static str = names::RESOURCES;
    fn id(&self) -> &str {
        &self.id
    }
}

impl Keyed for SigningKeyEntry {
    const TABLE: &'static str = names::SIGNING_KEYS;
    fn id(&self) -> &str {
        &self.kid
    }
}

/// The tables that control writes.
pub struct Tables {
    inputs: Slots<InputEntry>,
    resources: Slots<ResourceEntry>,
    signing_keys: Slots<SigningKeyEntry>,
    tunables: Table,
    vault: Arc<Vault>,
}

impl Tables {
    /// The tables of a `control` workspace, with what they hold.
    pub fn join(control: &Workspace, vault: Arc<Vault>) -> Result<Self, Error> {
        Ok(Self {
            inputs: Slots::new(control.table(names::INPUTS)?),
            resources: Slots::new(control.table(names::RESOURCES)?),
            signing_keys: Slots::new(control.table(names::SIGNING_KEYS)?),
            tunables: control.table(names::TUNABLES)?,
            vault,
        })
    }

    /// Shards for which a `control` workspace has room; `None` for one of another layout.
    pub fn shards(control: &Workspace) -> Option<usize> {
        [names::INPUTS, names::RESOURCES, names::SIGNING_KEYS]
            .iter()
            .try_for_each(|name| control.table(name).map(drop))
            .ok()?;
        Some(control.table(names::TUNABLES).ok()?.entries().saturating_sub(1))
    }

    /// Writes everything again; keys first, so that a token never meets a resource without them.
    pub fn fill(&mut self, contents: &Contents) -> Result<(), Error> {
        let keys: Vec<_> = contents.signing_keys.iter().map(signing_key_entry).collect();
        let resources: Vec<_> = contents.inputs.iter().map(resource_entry).collect();
        let inputs: Vec<_> = contents.inputs.iter().map(|input| self.input_entry(input)).collect();
        self.signing_keys.fill(&keys)?;
        self.resources.fill(&resources)?;
        self.inputs.fill(&inputs)?;
        self.fill_tunables(contents)
    }

    fn fill_tunables(&mut self, contents: &Contents) -> Result<(), Error> {
        let mut entries = vec![Tunables::default(); self.tunables.entries()];
        for row in &contents.tunables {
            // A key of another build, or a shard that this installation has not now: kept in the database for later.
            let entry = entries.get_mut(tunables_entry(row.shard));
            if let (Some(entry), Ok(tunable)) = (entry, Tunable::from_name(&row.name)) {
                entry.set(tunable, row.value);
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            self.tunables.write(index, &contract::encode(entry)?)?;
        }
        Ok(())
    }

    /// Shards that have an entry of their own in `tunables`.
    pub fn tunable_shards(&self) -> usize {
        self.tunables.entries().saturating_sub(1)
    }

    /// What is tuned for one shard, or for all.
    pub fn tunables(&self, shard: Option<usize>) -> Tunables {
        let mut bytes = Vec::new();
        let found = self.tunables.read(tunables_entry(shard), &mut bytes);
        found.version().and_then(|_| contract::decode(&bytes).ok()).unwrap_or_default()
    }

    /// Sets a value for one shard or for all; `None` takes it back.
    pub fn set_tunable(&mut self, shard: Option<usize>, tunable: Tunable, value: Option<u64>) -> Result<(), Error> {
        let mut wishes = self.tunables(shard);
        wishes.set(tunable, value);
        Ok(self.tunables.write(tunables_entry(shard), &contract::encode(&wishes)?)?)
    }

    /// Writes a live input and its playback resource.
    pub fn put_input(&mut self, input: &LiveInput) -> Result<(), Error> {
        self.resources.put(&resource_entry(input))?;
        let entry = self.input_entry(input);
        self.inputs.put(&entry)
    }

    /// The passphrase opened: the engine has no key to the database's secrets.
    fn input_entry(&self, input: &LiveInput) -> InputEntry {
        let opened = self.vault.unseal(&input.id, &input.srt_passphrase_sealed);
        let passphrase = opened.ok().and_then(|words| String::from_utf8(words).ok());
        if passphrase.is_none() {
            warn!(input = input.id, "its SRT passphrase cannot be opened: encoders that encrypt are refused");
        }
        input_entry(input, passphrase.unwrap_or_default())
    }

    /// Whether the table holds this input.
    pub fn has_input(&self, id: &str) -> bool {
        self.inputs.has(id)
    }

    /// Whether the tables hold anything of an organisation's input.
    pub fn has_input_of(&self, org: &str, id: &str) -> bool {
        let input = self.inputs.get(id).is_some_and(|entry| entry.org == org);
        input || self.resources.get(id).is_some_and(|entry| entry.org == org)
    }

    /// Removes both of an organisation's input. False when it has neither.
    pub fn remove_input(&mut self, org: &str, id: &str) -> Result<bool, Error> {
        let input = self.inputs.get(id).is_some_and(|entry| entry.org == org);
        let resource = self.resources.get(id).is_some_and(|entry| entry.org == org);
        if input {
            self.inputs.remove(id)?;
        }
        if resource {
            self.resources.remove(id)?;
        }
        Ok(input || resource)
    }

    /// Writes a signing key.
    pub fn put_signing_key(&mut self, key: &SigningKey) -> Result<(), Error> {
        self.signing_keys.put(&signing_key_entry(key))
    }

    /// Removes a signing key; nothing when the table does not hold it.
    pub fn remove_signing_key(&mut self, id: &str) -> Result<(), Error> {
        self.signing_keys.remove(id)
    }

    /// Removes every signing key but these.
    pub fn retain_signing_keys(&mut self, known: &[SigningKey]) -> Result<(), Error> {
        self.signing_keys.retain(&known.iter().map(|key| key.id.as_str()).collect())
    }
}

/// Entry 0 is for all shards, the next ones for one each.
fn tunables_entry(shard: Option<usize>) -> usize {
    shard.map_or(0, |shard| shard.saturating_add(1))
}

fn input_entry(input: &LiveInput, passphrase: String) -> InputEntry {
    let hash = |key: &crate::store::StreamKey| KeyHash {
        sha256: key.sha256.clone(),
        expires_at_ms: key.expires_at.map(|ms| u64::try_from(ms).unwrap_or(0)),
    };
    InputEntry {
        id: input.id.clone(),
        org: input.org.clone(),
        ingest: input.ingest.as_str().into(),
        enabled: input.enabled,
        key_hashes: input.keys.iter().take(KEYS_OF_INPUT_MAX).map(hash).collect(),
        reconnect_window_s: input.reconnect_window_s,
        srt_passphrase: Passphrase(passphrase),
    }
}

/// A disabled input takes no encoder; what it has sent may still be watched, so its resource stays.
fn resource_entry(input: &LiveInput) -> ResourceEntry {
    ResourceEntry { id: input.id.clone(), canonical: input.id.clone(), org: input.org.clone(), enabled: true }
}

fn signing_key_entry(key: &SigningKey) -> SigningKeyEntry {
    SigningKeyEntry {
        kid: key.id.clone(),
        org: key.org.clone(),
        alg: key.alg.as_str().into(),
        public_key_pem: key.public_key_pem.clone(),
        revoked: key.revoked_at.is_some(),
    }
}
