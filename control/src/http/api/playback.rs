//! `POST /v1/live-inputs/{id}/playback-url`: a signed URL for viewers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use streams_config::Profile;

use super::extract::{Id, Strict, data};
use super::{App, Caller, Problem, live_inputs};
use crate::keys::{Alg, Claims, KeyPair, mint};
use crate::store::SigningKey;
use crate::{Error, clock, ids};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Life of the token; clamped to 30…86400.
    #[serde(default = "Create::usual_ttl_s")]
    ttl_seconds: u64,
}

impl Create {
    fn usual_ttl_s() -> u64 {
        3600
    }
}

pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
    body: Strict<Create>,
) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let input = live_inputs::find(&app, &caller, &id).await?;
    let key = server_key(&app, &caller.org).await?;
    let private = app.vault.unseal(&key.id, key.private_sealed.as_deref().unwrap_or_default())?;
    let claims = Claims::playback(&caller.org, &id, clock::unix_ms().unsigned_abs() / 1000, body.value.ttl_seconds);
    let alg = Alg::parse(&key.alg).unwrap_or_default();
    let token = mint(&key.id, alg, &private, &claims)?;
    let urls = app.endpoints.playback_urls(&id, &token);
    let expires_at = clock::rfc3339(i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000));
    // An operator's certificate is known by who issued it.
    let certificates = match app.config.server.profile {
        Profile::Dev => app.certificates.hashes_hex(),
        Profile::Production => Vec::new(),
    };
    Ok(data(
        200,
        &json!({
            "url": urls.webtransport,
            "moqt": urls.moqt,
            "webtransport": urls.webtransport,
            "hls": urls.hls,
            "watch": urls.watch,
            "namespace": app.endpoints.namespace(&input.org, &input.id),
            "token": token,
            "expires_at": expires_at,
            "certificate_sha256": certificates,
        }),
    ))
}

/// The key that the server mints with: the organisation's one, made on first use and after a revocation.
async fn server_key(app: &App, org: &str) -> Result<SigningKey, Error> {
    let _change = app.changes.lock().await;
    if let Some(key) = app.store.server_key(org).await? {
        return Ok(key);
    }
    let pair = KeyPair::generate(Alg::EdDsa)?;
    let id = ids::new_id("key");
    let key = SigningKey {
        private_sealed: Some(app.vault.seal(&id, pair.private_pem.as_bytes())?),
        id,
        org: org.to_owned(),
        alg: Alg::EdDsa.as_str().to_owned(),
        public_key_pem: pair.public_pem,
        custody: "server".to_owned(),
        created_at: clock::unix_ms(),
        revoked_at: None,
    };
    app.add_signing_key(&key).await?;
    Ok(key)
}
