//! Keys that playback tokens are signed with.

use streams_contract::Command;

use super::{Answered, Plan, Refusal, Resources, Turn};
use crate::keys::{Alg, KeyPair, import_public_key};
use crate::program::revoked_known_since_ms;
use crate::store::{Change, Page, Receipt, SigningKey};
use crate::{Error, clock, ids};

/// Where a customer's key comes from.
pub enum KeySource {
    /// A pair is made and its private half told once.
    Made(Alg),
    /// The customer has the private half.
    Imported(Alg, String),
}

/// A new signing key.
pub struct CreatedKey {
    /// The key.
    pub key: SigningKey,
    /// The private half of a pair that was made, told once.
    pub private_pem: Option<String>,
}

impl Resources {
    /// Adds a key that the customer holds.
    pub async fn create_signing_key<T>(
        &self,
        org: &str,
        source: KeySource,
        answer: impl FnOnce(&CreatedKey) -> Answered<T>,
    ) -> Result<T, Error> {
        let (alg, public_key_pem, private_pem) = match source {
            KeySource::Imported(alg, pem) => (alg, import_public_key(alg, &pem)?, None),
            KeySource::Made(alg) => {
                let pair = generate(alg).await?;
                (alg, pair.public_pem, Some(pair.private_pem))
            }
        };
        let key = SigningKey {
            id: ids::new_id("key"),
            org: org.to_owned(),
            alg: alg.as_str().to_owned(),
            public_key_pem,
            custody: "customer".to_owned(),
            private_sealed: None,
            created_at: clock::unix_ms(),
            revoked_at: None,
        };
        let created = CreatedKey { key, private_pem };
        let (told, receipt) = answer(&created)?;
        let mut turn = self.turn().await?;
        self.add_signing_key(&mut turn, created.key, receipt).await?;
        Ok(told)
    }

    /// A page of an organisation's keys.
    pub async fn signing_keys(&self, org: &str, page: Page<'_>) -> Result<Vec<SigningKey>, Error> {
        self.store.signing_keys(org, page).await
    }

    /// An organisation's key, revoked or not.
    pub async fn signing_key(&self, org: &str, id: &str) -> Result<SigningKey, Error> {
        let found = if ids::is_id("key", id) { self.store.signing_key(org, id).await? } else { None };
        Ok(found.ok_or_else(|| Refusal::Unknown { kind: "signing key", id: id.to_owned() })?)
    }

    /// Revokes a key and cuts every session that its tokens opened. Revoking it again writes and cuts again.
    pub async fn revoke_signing_key(&self, org: &str, id: &str) -> Result<(), Error> {
        let mut turn = self.turn().await?;
        let before = self.signing_key(org, id).await?;
        let revoked_at = Some(before.revoked_at.unwrap_or_else(clock::unix_ms));
        let plan = Plan {
            change: Change::PutSigningKey(SigningKey { revoked_at, ..before.clone() }),
            before: Change::PutSigningKey(before),
            receipt: None,
            command: Some(Command::RevokeKey { kid: id.to_owned() }),
        };
        self.make(&mut turn, plan).await
    }

    /// The key that the server mints with: the organisation's one, made on first use and after a revocation.
    pub(super) async fn server_key(&self, org: &str) -> Result<SigningKey, Error> {
        let mut turn = self.turn().await?;
        if let Some(key) = self.store.server_key(org).await? {
            return Ok(key);
        }
        let pair = KeyPair::generate(Alg::EdDsa)?;
        let id = ids::new_id("key");
        let key = SigningKey {
            private_sealed: Some(self.vault.seal(&id, pair.private_pem.as_bytes())?),
            id,
            org: org.to_owned(),
            alg: Alg::EdDsa.as_str().to_owned(),
            public_key_pem: pair.public_pem,
            custody: "server".to_owned(),
            created_at: clock::unix_ms(),
            revoked_at: None,
        };
        self.add_signing_key(&mut turn, key.clone(), None).await?;
        Ok(key)
    }

    /// Adds a key, in the place of keys that no token needs any more.
    async fn add_signing_key(
        &self,
        turn: &mut Turn<'_>,
        key: SigningKey,
        receipt: Option<Receipt>,
    ) -> Result<(), Error> {
        let known = self.store.signing_keys_known_since(revoked_known_since_ms(clock::unix_ms())).await?;
        self.program.retain_signing_keys(&known)?;
        let before = Change::DeleteSigningKey { org: key.org.clone(), id: key.id.clone() };
        let change = Change::PutSigningKey(key);
        self.make(turn, Plan { change, before, receipt, command: None }).await
    }
}

/// RSA keys take a while to find: not on a thread that answers requests.
async fn generate(alg: Alg) -> Result<KeyPair, Error> {
    let made = tokio::task::spawn_blocking(move || KeyPair::generate(alg)).await;
    made.unwrap_or(Err(Error::Crypto { action: "make a key pair" }))
}
