//! `/v1/live-inputs`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use streams_contract::{Command, InputState};

use super::extract::{Id, Listing, Strict, data};
use super::{App, Caller, Problem, idempotency};
use crate::ids::{self, STREAM_KEY_PREFIX};
use crate::store::{LiveInput, StreamKey};
use crate::{Error, clock};

/// Kinds of ingest an input can be made for.
const INGEST_KINDS: [&str; 2] = ["rtmp", "any"];
/// Kinds of the contract that nothing listens for yet: an input of one could be pushed to by nobody.
const INGEST_KINDS_TO_COME: [&str; 3] = ["srt", "whip", "fmp4"];
/// Longest name, in characters.
const NAME_LEN_MAX: usize = 200;
/// Longest `meta`, in bytes of JSON.
const META_LEN_MAX: usize = 4096;
/// Longest reconnect window, in seconds.
const RECONNECT_WINDOW_S_MAX: u32 = 3600;
/// Longest grace of an old key, in seconds: a week.
const GRACE_S_MAX: u64 = 7 * 24 * 3600;
/// Keys an input may have at once, those in grace included.
const KEYS_MAX: usize = crate::program::KEYS_OF_INPUT_MAX;

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

fn checked_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    if !(1..=NAME_LEN_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("name must have 1 to {NAME_LEN_MAX} printable characters")));
    }
    Ok(name.to_owned())
}

fn checked_ingest(kind: &str) -> Result<String, Problem> {
    if INGEST_KINDS_TO_COME.contains(&kind) {
        let detail =
            format!("ingest `{kind}` is not there yet: this build takes RTMP (`rtmp`), or whatever it can (`any`)");
        return Err(Problem::not_implemented(detail));
    }
    if !INGEST_KINDS.contains(&kind) {
        let kinds = INGEST_KINDS.join(", ");
        return Err(Problem::invalid(format!("ingest is `{kind}`; it must be one of {kinds}")));
    }
    Ok(kind.to_owned())
}

fn checked_window(window_s: u32) -> Result<u32, Problem> {
    if window_s > RECONNECT_WINDOW_S_MAX {
        let detail = format!("reconnect_window_s is {window_s}; at most {RECONNECT_WINDOW_S_MAX} is possible");
        return Err(Problem::invalid(detail));
    }
    Ok(window_s)
}

fn checked_meta(meta: Map<String, Value>) -> Result<String, Problem> {
    let meta = Value::Object(meta).to_string();
    if meta.len() > META_LEN_MAX {
        return Err(Problem::invalid(format!("meta has {} bytes; at most {META_LEN_MAX} are kept", meta.len())));
    }
    Ok(meta)
}

/// Fields of the contract behind which there is nothing yet: whoever sends them switched off gets what was asked for.
fn checked_off(record: Option<bool>, ladder: Option<&Value>, dvr_window_s: Option<u64>) -> Result<(), Problem> {
    let refused = |what: String, off: &str| {
        Err(Problem::invalid(format!("{what}; this build does not offer that yet: leave the field out or send {off}")))
    };
    if record == Some(true) {
        return refused("record is true".to_owned(), "false");
    }
    if let Some(ladder) = ladder.filter(|ladder| !is_empty(ladder)) {
        return refused(format!("ladder is {ladder}"), "null");
    }
    match dvr_window_s {
        None | Some(0) => Ok(()),
        Some(window_s) => refused(format!("dvr_window_s is {window_s}"), "0"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(steps) => steps.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
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
    checked_off(record, ladder.as_ref(), dvr_window_s)?;
    let (name, ingest, meta) = (checked_name(&name)?, checked_ingest(&ingest)?, checked_meta(meta)?);
    let reconnect_window_s = checked_window(reconnect_window_s.unwrap_or(app.config.ingest.reconnect_window_s))?;
    let make = async {
        let _change = app.changes.lock().await;
        let (now_ms, id) = (clock::unix_ms(), ids::new_id("lv"));
        let (secret, key) = new_stream_key(now_ms)?;
        let passphrase = ids::new_secret("")?;
        let input = LiveInput {
            srt_passphrase_sealed: app.vault.seal(&id, passphrase.as_bytes())?,
            id,
            org: caller.org.clone(),
            name,
            ingest,
            enabled: true,
            reconnect_window_s,
            meta,
            created_at: now_ms,
            updated_at: now_ms,
            keys: vec![key],
        };
        app.store.add_live_input(&input).await?;
        if let Err(error) = app.program.put_input(&input) {
            app.store.delete_live_input(&input.org, &input.id).await?;
            return Err(error.into());
        }
        let mut shown = show(&app, &input, Some(&secret));
        shown["srt_passphrase"] = passphrase.into();
        Ok((201, json!({ "data": shown })))
    };
    idempotency::once(&app, &caller, &headers, ("/v1/live-inputs", &body.bytes), make).await
}

pub async fn list(State(app): State<Arc<App>>, caller: Caller, listing: Listing) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let rows = app.store.live_inputs(&caller.org, listing.page()).await?;
    Ok(listing.answer(rows, |input| &input.id, |input| show(&app, input, None)))
}

pub async fn read(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let input = find(&app, &caller, &id).await?;
    Ok(data(200, &show(&app, &input, None)))
}

/// Whether the broadcast is well: its status, what spoils it now, and the last refusal or fault.
pub async fn health(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:read")?;
    let input = find(&app, &caller, &id).await?;
    let shown = show(&app, &input, None);
    let fields = ["id", "status", "warnings", "last_error"].map(|name| (name.to_owned(), shown[name].clone()));
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
    checked_off(record, ladder.as_ref(), dvr_window_s)?;
    let _change = app.changes.lock().await;
    let mut input = find(&app, &caller, &id).await?;
    if let Some(name) = name {
        input.name = checked_name(&name)?;
    }
    if let Some(kind) = ingest {
        input.ingest = checked_ingest(&kind)?;
    }
    if let Some(window_s) = reconnect_window_s {
        input.reconnect_window_s = checked_window(window_s)?;
    }
    if let Some(meta) = meta {
        input.meta = checked_meta(meta)?;
    }
    input.updated_at = clock::unix_ms();
    app.store.update_live_input(&input).await?;
    app.program.put_input(&input)?;
    Ok(data(200, &show(&app, &input, None)))
}

pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let _change = app.changes.lock().await;
    let deleted = app.store.delete_live_input(&caller.org, &id).await?;
    // A deletion that failed after the database leaves its entry: the repeat takes it out.
    let removed = app.program.remove_input(&caller.org, &id)?;
    if !deleted && !removed {
        return Err(unknown(&id));
    }
    cut(&app, &id, "the input was deleted")?;
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
    if grace_s > GRACE_S_MAX {
        return Err(Problem::invalid(format!("grace_seconds is {grace_s}; at most {GRACE_S_MAX} is possible")));
    }
    let path = format!("/v1/live-inputs/{id}/rotate-stream-key");
    let rotated = async {
        let _change = app.changes.lock().await;
        let mut input = find(&app, &caller, &id).await?;
        let now_ms = clock::unix_ms();
        let in_force = input.keys.iter().filter(|key| key.expires_at.is_none_or(|end| end > now_ms)).count();
        if grace_s > 0 && in_force >= KEYS_MAX {
            let detail = format!("{in_force} keys are in force already; rotate with grace_seconds 0 to end them");
            return Err(Problem::limit_reached(detail));
        }
        let (secret, key) = new_stream_key(now_ms)?;
        let end_ms = now_ms.saturating_add(i64::try_from(grace_s * 1000).unwrap_or(i64::MAX));
        input.keys = app.store.rotate_stream_key(&id, &key, end_ms).await?;
        input.updated_at = now_ms;
        app.program.put_input(&input)?;
        if grace_s == 0 {
            cut(&app, &id, "the stream key was rotated")?;
        }
        Ok((200, json!({ "data": show(&app, &input, Some(&secret)) })))
    };
    idempotency::once(&app, &caller, &headers, (&path, &body.bytes), rotated).await
}

pub async fn enable(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    set_enabled(&app, &caller, &id, true).await
}

pub async fn disable(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let response = set_enabled(&app, &caller, &id, false).await?;
    cut(&app, &id, "the input was disabled")?;
    Ok(response)
}

/// Cuts the encoder; it may come back with the same key.
pub async fn disconnect(State(app): State<Arc<App>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let input = find(&app, &caller, &id).await?;
    cut(&app, &id, "disconnected by the operator")?;
    Ok(data(202, &show(&app, &input, None)))
}

async fn set_enabled(app: &App, caller: &Caller, id: &str, enabled: bool) -> Result<Response, Problem> {
    caller.needs("live:write")?;
    let _change = app.changes.lock().await;
    let mut input = find(app, caller, id).await?;
    (input.enabled, input.updated_at) = (enabled, clock::unix_ms());
    app.store.enable_live_input(&caller.org, id, enabled, input.updated_at).await?;
    app.program.put_input(&input)?;
    Ok(data(200, &show(app, &input, None)))
}

/// The caller's input, or 404.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<LiveInput, Problem> {
    if !ids::is_id("lv", id) {
        return Err(unknown(id));
    }
    app.store.live_input(&caller.org, id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no live input {id}"))
}

fn cut(app: &App, id: &str, reason: &str) -> Result<(), Error> {
    app.program.send(&Command::DisconnectInput { input: id.to_owned(), reason: reason.to_owned() })
}

fn new_stream_key(now_ms: i64) -> Result<(String, StreamKey), Error> {
    let secret = ids::new_secret(STREAM_KEY_PREFIX)?;
    let key = StreamKey { sha256: ids::sha256_hex(secret.as_bytes()), created_at: now_ms, expires_at: None };
    Ok((secret, key))
}

/// The resource as callers see it. `secret` is its new stream key, told once.
fn show(app: &App, input: &LiveInput, secret: Option<&str>) -> Value {
    let runtime = app.program.runtime(&input.id);
    let status = match runtime.as_ref().map(|runtime| &runtime.state) {
        _ if !input.enabled => "disabled",
        Some(state @ (InputState::Active | InputState::Reconnecting)) => state.as_str(),
        _ => InputState::Idle.as_str(),
    };
    let last_error = runtime.as_ref().and_then(|runtime| runtime.last_error.clone());
    let last_error = app.program.last_refusal(&input.id).or(last_error);
    let mut shown = json!({
        "id": input.id,
        "name": input.name,
        "ingest": input.ingest,
        "status": status,
        "namespace": app.endpoints.namespace(&input.org, &input.id),
        "reconnect_window_s": input.reconnect_window_s,
        "record": false,
        "ladder": [],
        "dvr_window_s": 0,
        "meta": serde_json::from_str::<Value>(&input.meta).unwrap_or_default(),
        "urls": app.endpoints.ingest_urls(&input.id, &input.ingest, secret),
        "protocol": runtime.as_ref().map(|runtime| &runtime.protocol).filter(|protocol| protocol.is_said()),
        "tracks": runtime.as_ref().map(|runtime| &runtime.tracks),
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
