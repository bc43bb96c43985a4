//! `/v1/live-inputs`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::extract::{Id, Listing, Strict, data};
use super::idempotency::{self, Start};
use super::{App, Caller, Problem};
use crate::clock;
use crate::resources::{Created, Fields, Live, Resources, Rotated, Settings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    name: String,
    #[serde(default = "Create::usual_ingest")]
    ingest: String,
    reconnect_window_s: Option<u32>,
    #[serde(default)]
    meta: Map<String, Value>,
    record: Option<bool>,
    ladder: Option<Value>,
    dvr_window_s: Option<u64>,
}

impl Create {
    fn usual_ingest() -> String {
        "any".to_owned()
    }
}

pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Strict<Create>,
) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let Create { name, ingest, reconnect_window_s, meta, record, ladder, dvr_window_s } = body.value;
    let settings = Settings::new(Fields {
        name: Some(name),
        ingest: Some(ingest),
        reconnect_window_s,
        meta: Some(meta),
        record,
        ladder,
        dvr_window_s,
    })?;
    let once = match idempotency::begin(&app, &caller, &headers, ("/v1/live-inputs", &body.bytes)).await? {
        Start::First(once) => once,
        Start::Repeat(answer) => return Ok(answer),
    };
    let told = |created: &Created| {
        let mut shown = show(&app, &created.live, Some(&created.stream_key));
        shown["srt_passphrase"] = created.srt_passphrase.as_str().into();
        once.keep(201, &json!({ "data": shown }))
    };
    let made = app.resources.create_live_input(&caller.org, settings, told).await;
    once.end(made).await
}

pub async fn list(State(app): State<Arc<App>>, caller: Caller, listing: Listing) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let rows = app.resources.live_inputs(&caller.org, listing.page()).await?;
    Ok(listing.answer(rows, |live| &live.input.id, |live| show(&app, live, None)))
}

pub async fn read(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let live = app.resources.live_input(&caller.org, &id).await?;
    Ok(data(200, &show(&app, &live, None)))
}

/// Whether the broadcast is well: its status, what spoils it now, and the last refusal or fault.
pub async fn health(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let live = app.resources.live_input(&caller.org, &id).await?;
    let shown = show(&app, &live, None);
    let fields = ["id", "status", "protocol", "tracks", "link", "warnings", "last_error"]
        .map(|name| (name.to_owned(), shown[name].clone()));
    Ok(data(200, &Value::Object(fields.into_iter().collect())))
}

/// A field that is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    name: Option<String>,
    ingest: Option<String>,
    reconnect_window_s: Option<u32>,
    meta: Option<Map<String, Value>>,
    record: Option<bool>,
    ladder: Option<Value>,
    dvr_window_s: Option<u64>,
}

pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
    body: Strict<Update>,
) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let Update { name, ingest, reconnect_window_s, meta, record, ladder, dvr_window_s } = body.value;
    let fields = Fields { name, ingest, reconnect_window_s, meta, record, ladder, dvr_window_s };
    let live = app.resources.update_live_input(&caller.org, &id, Settings::new(fields)?).await?;
    Ok(data(200, &show(&app, &live, None)))
}

pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    app.resources.delete_live_input(&caller.org, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    #[serde(default)]
    grace_seconds: u64,
}

pub async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    body: Strict<Rotate>,
) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let grace_s = body.value.grace_seconds;
    Resources::check_grace(grace_s)?;
    let path = format!("/v1/live-inputs/{id}/rotate-stream-key");
    let once = match idempotency::begin(&app, &caller, &headers, (&path, &body.bytes)).await? {
        Start::First(once) => once,
        Start::Repeat(answer) => return Ok(answer),
    };
    let told =
        |rotated: &Rotated| once.keep(200, &json!({ "data": show(&app, &rotated.live, Some(&rotated.stream_key)) }));
    let made = app.resources.rotate_stream_key(&caller.org, &id, grace_s, told).await;
    once.end(made).await
}

pub async fn enable(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    set_enabled(&app, &caller, &id, true).await
}

pub async fn disable(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    set_enabled(&app, &caller, &id, false).await
}

pub async fn disconnect(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let live = app.resources.disconnect_live_input(&caller.org, &id).await?;
    Ok(data(202, &show(&app, &live, None)))
}

async fn set_enabled(app: &App, caller: &Caller, id: &str, enabled: bool) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let live = app.resources.enable_live_input(&caller.org, id, enabled).await?;
    Ok(data(200, &show(app, &live, None)))
}

/// The resource as callers see it. `secret` is its new stream key, told once.
fn show(app: &App, live: &Live, secret: Option<&str>) -> Value {
    let Live { input, status, runtime, last_error } = live;
    let mut shown = json!({
        "id": input.id,
        "name": input.name,
        "ingest": input.ingest,
        "status": status.as_str(),
        "namespace": app.endpoints.namespace(&input.org, &input.id),
        "reconnect_window_s": input.reconnect_window_s,
        "record": false,
        "ladder": [],
        "dvr_window_s": 0,
        "meta": serde_json::from_str::<Value>(&input.meta).unwrap_or_default(),
        "urls": app.endpoints.ingest_urls(&input.id, &input.ingest, secret),
        "protocol": runtime.as_ref().map(|runtime| &runtime.protocol).filter(|protocol| protocol.is_said()),
        "tracks": runtime.as_ref().map(|runtime| &runtime.tracks),
        "link": runtime.as_ref().and_then(|runtime| runtime.link.as_ref()),
        "last_error": last_error,
        "warnings": runtime.as_ref().map(|runtime| runtime.warnings.as_slice()).unwrap_or_default(),
        "created_at": clock::rfc3339(input.created_at),
        "updated_at": clock::rfc3339(input.updated_at),
    });
    if let Some(secret) = secret {
        shown["stream_key"] = secret.into();
    }
    shown
}
