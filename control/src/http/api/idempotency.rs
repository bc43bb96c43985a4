//! `Idempotency-Key`: a create request that is sent twice is carried out once.
//!
//! The first answer is kept for a day, sealed, in the same transaction as the change that it tells of, and given again to
//! whoever repeats the request; a key that comes back with another path or body is refused; while the first request is still
//! at work the second is told to wait. A request that failed frees its key.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::Value;

use super::extract::{Caller, json_text};
use super::{App, Problem};
use crate::resources::Answered;
use crate::store::{Begun, Receipt, StoredAnswer};
use crate::{Error, clock, ids};

/// Longest accepted key: a UUID has 36 letters.
const KEY_LEN_MAX: usize = 255;

/// Whether a request is carried out.
pub enum Start<'a> {
    /// It is: nobody has asked this before.
    First(Once<'a>),
    /// It was; this is the answer of then.
    Repeat(Response),
}

/// A request that is carried out now and never again under its key.
pub struct Once<'a> {
    app: &'a App,
    org: &'a str,
    /// `None`: the caller does not mind a second time.
    key: Option<&'a str>,
}

/// Reserves the key of a request, or finds what became of it.
pub async fn begin<'a>(
    app: &'a App,
    caller: &'a Caller,
    headers: &'a HeaderMap,
    (path, body): (&str, &[u8]),
) -> Result<Start<'a>, Problem> {
    let once = Once { app, org: &caller.org, key: request_key(headers)? };
    let Some(key) = once.key else {
        return Ok(Start::First(once));
    };
    let fingerprint = ids::sha256_hex(&[path.as_bytes(), b"\0", body].concat());
    // An answer whose change may yet be undone is none: this looks between two changes.
    let turn = app.resources.turn().await?;
    let begun = app.store.begin_request(once.org, key, &fingerprint, clock::unix_ms()).await?;
    drop(turn);
    match begun {
        Begun::First => Ok(Start::First(once)),
        Begun::AtWork => {
            Err(Problem::conflict("the first request with this Idempotency-Key is still at work".to_owned()))
        }
        Begun::Other => {
            let detail = "this Idempotency-Key was used with another path or body; use a new one".to_owned();
            Err(Problem::idempotency_mismatch(detail))
        }
        Begun::Answered(answer) => {
            let body = app.vault.unseal(&owner(once.org, key), &answer.body_sealed)?;
            let mut response = json_text(answer.status, String::from_utf8_lossy(&body).into_owned());
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
            Ok(Start::Repeat(response))
        }
    }
}

impl Once<'_> {
    /// The answer of a success, and what is kept of it with the change.
    pub fn keep(&self, status: u16, body: &Value) -> Answered<(u16, String)> {
        let body = body.to_string();
        let receipt = match self.key {
            None => None,
            Some(key) => {
                let body_sealed = self.app.vault.seal(&owner(self.org, key), body.as_bytes())?;
                let answer = Some(StoredAnswer { status, body_sealed });
                Some(Receipt { org: self.org.to_owned(), key: key.to_owned(), answer })
            }
        };
        Ok(((status, body), receipt))
    }

    /// Answers, and frees the key of a request that failed.
    pub async fn end(self, made: Result<(u16, String), Error>) -> Result<Response, Problem> {
        match (made, self.key) {
            (Ok((status, body)), _) => Ok(json_text(status, body)),
            (Err(error), None) => Err(error.into()),
            (Err(error), Some(key)) => {
                self.app.store.abandon_request(self.org, key).await?;
                Err(error.into())
            }
        }
    }
}

fn owner(org: &str, key: &str) -> String {
    format!("idempotency/{org}/{key}")
}

fn request_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_LEN_MAX);
    let refused = || Problem::invalid(format!("Idempotency-Key must be 1 to {KEY_LEN_MAX} visible ASCII letters"));
    key.map(Some).ok_or_else(refused)
}
