//! Public keys, read once and not again for each token.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::directory::{SigningAlgorithm, SigningKey};
use crate::error::AuthFault;

/// Keys that are remembered at once. A shard that serves the viewers of more keys than that reads some of them again.
const KEYS_MAX: usize = 256;

/// Public keys by `kid`, each as good as the entry of the directory that it was read from.
#[derive(Default)]
pub struct VerifyingKeys {
    by_kid: HashMap<String, Parsed>,
    reads: u64,
}

struct Parsed {
    alg: SigningAlgorithm,
    pem: String,
    key: DecodingKey,
}

impl std::fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKeys").field("kids", &self.by_kid.keys()).field("reads", &self.reads).finish()
    }
}

impl VerifyingKeys {
    /// How often a key was read from its PEM.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Whether a signature of `message` holds.
    pub(super) fn holds(
        &mut self,
        message: &str,
        signature: &str,
        kid: &str,
        key: &SigningKey,
    ) -> Result<bool, AuthFault> {
        let known = self.by_kid.get(kid).is_some_and(|known| known.alg == key.alg && known.pem == key.public_key_pem);
        if !known {
            self.read(kid, key)?;
        }
        let parsed = self.by_kid.get(kid).ok_or(AuthFault::UnusableKey)?;
        // An error here is a signature that is no base64url.
        let holds = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &parsed.key, algorithm(parsed.alg));
        Ok(holds.unwrap_or(false))
    }

    fn read(&mut self, kid: &str, key: &SigningKey) -> Result<(), AuthFault> {
        self.by_kid.remove(kid);
        self.reads += 1;
        let pem = key.public_key_pem.as_bytes();
        let decoded = match key.alg {
            SigningAlgorithm::EdDsa => DecodingKey::from_ed_pem(pem),
            SigningAlgorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
        };
        let decoded = decoded.map_err(|_| AuthFault::UnusableKey)?;
        if self.by_kid.len() >= KEYS_MAX {
            self.by_kid.clear();
        }
        let parsed = Parsed { alg: key.alg, pem: key.public_key_pem.clone(), key: decoded };
        self.by_kid.insert(kid.to_owned(), parsed);
        Ok(())
    }
}

fn algorithm(alg: SigningAlgorithm) -> Algorithm {
    match alg {
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
    }
}
