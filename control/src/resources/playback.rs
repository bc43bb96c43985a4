//! Signed playback tokens of live inputs.

use super::Resources;
use crate::keys::{Alg, Claims, mint};
use crate::store::LiveInput;
use crate::{Error, clock};

/// The right to watch one input until it expires.
pub struct Playback {
    /// What may be watched.
    pub input: LiveInput,
    /// The token.
    pub token: String,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

impl Resources {
    /// Signs a token for an organisation's live input with the key that the server holds. Its life is clamped to the contract.
    pub async fn playback(&self, org: &str, id: &str, ttl_s: u64) -> Result<Playback, Error> {
        let input = self.live_input(org, id).await?.input;
        let key = self.server_key(org).await?;
        let private = self.vault.unseal(&key.id, key.private_sealed.as_deref().unwrap_or_default())?;
        let claims = Claims::playback(org, id, clock::unix_ms().unsigned_abs() / 1000, ttl_s);
        let token = mint(&key.id, Alg::parse(&key.alg).unwrap_or_default(), &private, &claims)?;
        let expires_at_ms = i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000);
        Ok(Playback { input, token, expires_at_ms })
    }
}
