//! `POST /v1/live-inputs/{id}/playback-url`: a signed URL for viewers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use streams_config::Profile;

use super::extract::{Id, Strict, data};
use super::{App, Caller, Problem};
use crate::clock;

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
    let playback = app.resources.playback(&caller.org, &id, body.value.ttl_seconds).await?;
    let urls = app.endpoints.playback_urls(&id, &playback.token);
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
            "namespace": app.endpoints.namespace(&playback.input.org, &playback.input.id),
            "token": playback.token,
            "expires_at": clock::rfc3339(playback.expires_at_ms),
            "certificate_sha256": certificates,
        }),
    ))
}
