//! `/v1/signing-keys`: the keys that playback tokens are signed with.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Id, Listing, Strict, data};
use super::idempotency::{self, Start};
use super::{App, Caller, Problem};
use crate::clock;
use crate::keys::Alg;
use crate::resources::{CreatedKey, KeySource};
use crate::store::SigningKey;

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
    let once = match idempotency::begin(&app, &caller, &headers, ("/v1/signing-keys", &body.bytes)).await? {
        Start::First(once) => once,
        Start::Repeat(answer) => return Ok(answer),
    };
    let Create { alg, public_key_pem } = body.value;
    let source = match public_key_pem {
        Some(pem) => KeySource::Imported(alg, pem),
        None => KeySource::Made(alg),
    };
    let told = |created: &CreatedKey| {
        let mut shown = show(&created.key);
        if let Some(private) = &created.private_pem {
            shown["private_key_pem"] = private.as_str().into();
        }
        once.keep(201, &json!({ "data": shown }))
    };
    let made = app.resources.create_signing_key(&caller.org, source, told).await;
    once.end(made).await
}

pub async fn list(State(app): State<Arc<App>>, caller: Caller, listing: Listing) -> Result<Response, Problem> {
    caller.needs("keys:read")?;
    let rows = app.resources.signing_keys(&caller.org, listing.page()).await?;
    Ok(listing.answer(rows, |key| &key.id, show))
}

pub async fn read(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("keys:read")?;
    Ok(data(200, &show(&app.resources.signing_key(&caller.org, &id).await?)))
}

pub async fn revoke(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("keys:write")?;
    app.resources.revoke_signing_key(&caller.org, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
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
