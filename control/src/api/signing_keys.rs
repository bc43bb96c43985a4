//! `/v1/signing-keys`: the keys that playback tokens are signed with.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use streams_contract::Command;

use super::extract::{Id, Listing, Strict, data};
use super::{App, Caller, Problem, idempotency};
use crate::keys::{Alg, KeyPair, import_public_key};
use crate::program::revoked_known_since_ms;
use crate::store::SigningKey;
use crate::{Error, clock, ids};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    #[serde(default)]
    alg: Alg,
    /// Given: this key is imported. Absent: a pair is made and its private half told once.
    public_key_pem: Option<String>,
}

pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Strict<Create>,
) -> Result<Response, Problem> {
    caller.needs("keys:write")?;
    let make = async {
        let alg = body.value.alg;
        let (public_key_pem, private) = match &body.value.public_key_pem {
            Some(pem) => (import_public_key(alg, pem)?, None),
            None => {
                let pair = generate(alg).await?;
                (pair.public_pem, Some(pair.private_pem))
            }
        };
        let key = SigningKey {
            id: ids::new_id("key"),
            org: caller.org.clone(),
            alg: alg.as_str().to_owned(),
            public_key_pem,
            custody: "customer".to_owned(),
            private_sealed: None,
            created_at: clock::unix_ms(),
            revoked_at: None,
        };
        let _change = app.changes.lock().await;
        app.add_signing_key(&key).await?;
        let mut shown = show(&key);
        if let Some(private) = private {
            shown["private_key_pem"] = private.into();
        }
        Ok((201, json!({ "data": shown })))
    };
    idempotency::once(&app, &caller, &headers, ("/v1/signing-keys", &body.bytes), make).await
}

/// RSA keys take a while to find: not on a thread that answers requests.
async fn generate(alg: Alg) -> Result<KeyPair, Error> {
    let made = tokio::task::spawn_blocking(move || KeyPair::generate(alg)).await;
    made.unwrap_or(Err(Error::Crypto { action: "make a key pair" }))
}

pub async fn list(State(app): State<Arc<App>>, caller: Caller, listing: Listing) -> Result<Response, Problem> {
    caller.needs("keys:read")?;
    let rows = app.store.signing_keys(&caller.org, listing.page()).await?;
    Ok(listing.answer(rows, |key| &key.id, show))
}

pub async fn read(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("keys:read")?;
    Ok(data(200, &show(&find(&app, &caller, &id).await?)))
}

/// Revokes a key and cuts every session that its tokens opened. Revoking it again writes and cuts again, so that a repeat
/// completes a revocation that failed half-way.
pub async fn revoke(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("keys:write")?;
    let _change = app.changes.lock().await;
    let mut key = find(&app, &caller, &id).await?;
    let now_ms = clock::unix_ms();
    app.store.revoke_signing_key(&caller.org, &id, now_ms).await?;
    let revoked_at = *key.revoked_at.get_or_insert(now_ms);
    // A key revoked long ago has left the table, and nobody watches by it any more.
    if revoked_at >= revoked_known_since_ms(now_ms) {
        app.program.put_signing_key(&key)?;
    }
    app.program.send(&Command::RevokeKey { kid: id })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<SigningKey, Problem> {
    let unknown = || Problem::not_found(format!("there is no signing key {id}"));
    if !ids::is_id("key", id) {
        return Err(unknown());
    }
    app.store.signing_key(&caller.org, id).await?.ok_or_else(unknown)
}

fn show(key: &SigningKey) -> Value {
    json!({
        "id": key.id,
        "kid": key.id,
        "org": key.org,
        "alg": key.alg,
        "custody": key.custody,
        "status": if key.revoked_at.is_some() { "revoked" } else { "active" },
        "public_key_pem": key.public_key_pem,
        "created_at": clock::rfc3339(key.created_at),
        "revoked_at": key.revoked_at.map(clock::rfc3339),
    })
}
