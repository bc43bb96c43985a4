//! What handlers take: the caller, a strict body, a page of a list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{App, Problem};
use crate::ids;
use crate::store::Page;

/// Rows of a page when the caller does not say.
const LIMIT_DEFAULT: u32 = 50;
/// Rows of a page at most.
const LIMIT_MAX: u32 = 200;

/// Whoever holds a valid API key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organisation it acts for.
    pub org: String,
    scopes: String,
}

impl Caller {
    /// Refuses a caller whose key lacks `scope`.
    pub fn needs(&self, scope: &str) -> Result<(), Problem> {
        if self.scopes.split(' ').any(|held| held == scope || held == "admin") {
            return Ok(());
        }
        Err(Problem::forbidden(format!("this API key lacks the scope `{scope}`; it has `{}`", self.scopes)))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, secret)) = header.and_then(|value| value.split_once(' ')) else {
            return Err(Problem::unauthorized("send the header `Authorization: Bearer <API key>`".to_owned()));
        };
        let unknown = || Problem::unauthorized("this API key is unknown or revoked".to_owned());
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unknown());
        }
        let key = app.store.api_key(&ids::sha256_hex(secret.trim().as_bytes())).await?.ok_or_else(unknown)?;
        app.limit.take(&key.id, Instant::now()).map_err(Problem::too_many_requests)?;
        Ok(Self { org: key.org, scopes: key.scopes })
    }
}

/// The `{id}` of a path.
pub struct Id(
    /// As it stands in the path, decoded.
    pub String,
);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = |_| Problem::not_found("the id in the path is not text".to_owned());
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable)?;
        Ok(Self(id))
    }
}

/// A JSON body without unknown fields. An empty body is `{}`.
pub struct Strict<T> {
    /// The body.
    pub value: T,
    /// Its bytes as they came, for the fingerprint of an idempotent request.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Strict<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (limit, timeout_ms) = (app.config.api.body_bytes_max, app.config.api.request_timeout_ms);
        let bytes = tokio::time::timeout(Duration::from_millis(timeout_ms), to_bytes(request.into_body(), limit))
            .await
            .map_err(|_| Problem::too_slow(format!("the body did not arrive within {timeout_ms} ms")))?
            .map_err(|_| Problem::too_large(format!("the body is cut off or longer than {limit} bytes")))?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice(text).map_err(|error| Problem::invalid(format!("the body: {error}")))?;
        Ok(Self { value, bytes })
    }
}

/// `?limit=&cursor=` of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// A page that a caller asks for.
#[derive(Debug)]
pub struct Listing {
    limit: u32,
    before: Option<String>,
}

impl Listing {
    /// For the store: one row more than asked for tells whether there is a next page.
    pub fn page(&self) -> Page<'_> {
        Page { before: self.before.as_deref(), limit: self.limit + 1 }
    }

    /// The answer: rows as JSON and the cursor of the next page.
    pub fn answer<T>(
        &self,
        mut rows: Vec<T>,
        id: impl Fn(&T) -> &str,
        json: impl Fn(&T) -> serde_json::Value,
    ) -> Response {
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let cursor = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(id(row)));
        let data: Vec<_> = rows.iter().map(json).collect();
        json_response(200, &serde_json::json!({ "data": data, "next_cursor": cursor }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refused = |rejection: QueryRejection| Problem::invalid(format!("the query: {}", rejection.body_text()));
        let Query(query) = Query::<ListQuery>::from_request_parts(parts, state).await.map_err(refused)?;
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit is {limit}; it must be from 1 to {LIMIT_MAX}")));
        }
        let decode = |cursor: String| {
            let id = URL_SAFE_NO_PAD.decode(&cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            id.ok_or_else(|| {
                Problem::invalid("cursor: pass back `next_cursor` of the page before, unchanged".to_owned())
            })
        };
        Ok(Self { limit, before: query.cursor.map(decode).transpose()? })
    }
}

/// `{"data": …}`.
pub fn data(status: u16, value: &impl Serialize) -> Response {
    json_response(status, &serde_json::json!({ "data": value }))
}

/// A JSON answer. Answers may hold secrets and are never the same twice: nobody keeps them.
pub fn json_response(status: u16, value: &serde_json::Value) -> Response {
    json_text(status, value.to_string())
}

/// A JSON answer that is already text.
pub fn json_text(status: u16, text: String) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::OK);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, Body::from(text)).into_response()
}
