//! `Idempotency-Key`: a create request that is sent twice is carried out once.
//!
//! The first answer is kept for a day, sealed, and given again to whoever repeats the request; a key that comes back with
//! another path or body is refused; while the first request is still at work the second is told to wait. A request that
//! failed frees its key.

use std::future::Future;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::Value;

use super::extract::{Caller, json_text};
use super::{App, Problem};
use crate::store::{Begun, StoredAnswer};
use crate::{Error, clock, ids};

/// Longest accepted key: a UUID has 36 letters.
const KEY_LEN_MAX: usize = 255;

/// Carries out `create` once for each key. It answers the status and the body of a success.
pub async fn once(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    (path, body): (&str, &[u8]),
    create: impl Future<Output = Result<(u16, Value), Problem>>,
) -> Result<Response, Problem> {
    let Some(key) = request_key(headers)? else {
        let (status, value) = create.await?;
        return Ok(json_text(status, value.to_string()));
    };
    let fingerprint = ids::sha256_hex(&[path.as_bytes(), b"\0", body].concat());
    match app.store.begin_request(&caller.org, key, &fingerprint, clock::unix_ms()).await? {
        Begun::First => {}
        Begun::AtWork => {
            return Err(Problem::conflict("the first request with this Idempotency-Key is still at work".to_owned()));
        }
        Begun::Other => {
            let detail = "this Idempotency-Key was used with another path or body; use a new one".to_owned();
            return Err(Problem::idempotency_mismatch(detail));
        }
        Begun::Answered(answer) => return replay(app, caller, key, &answer),
    }
    let answered = match create.await {
        Ok((status, value)) => keep(app, caller, key, status, value.to_string()).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    if answered.is_err() {
        app.store.abandon_request(&caller.org, key).await?;
    }
    answered
}

async fn keep(app: &App, caller: &Caller, key: &str, status: u16, body: String) -> Result<Response, Error> {
    let body_sealed = app.vault.seal(&owner(caller, key), body.as_bytes())?;
    app.store.finish_request(&caller.org, key, &StoredAnswer { status, body_sealed }).await?;
    Ok(json_text(status, body))
}

fn replay(app: &App, caller: &Caller, key: &str, answer: &StoredAnswer) -> Result<Response, Problem> {
    let body = app.vault.unseal(&owner(caller, key), &answer.body_sealed)?;
    let mut response = json_text(answer.status, String::from_utf8_lossy(&body).into_owned());
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

fn owner(caller: &Caller, key: &str) -> String {
    format!("idempotency/{}/{key}", caller.org)
}

fn request_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_LEN_MAX);
    let refused = || Problem::invalid(format!("Idempotency-Key must be 1 to {KEY_LEN_MAX} visible ASCII letters"));
    key.map(Some).ok_or_else(refused)
}
