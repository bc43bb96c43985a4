//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::extract::json_response;
use super::{App, Problem};

/// This process answers.
pub async fn healthz() -> Response {
    json_response(200, &serde_json::json!({ "status": "ok" }))
}

/// The whole installation can serve: the database answers, and every shard runs and has just said so.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    app.store.ping().await?;
    let engine = app.program.engine();
    if engine.shards.is_empty() {
        return Err(Problem::unavailable("the engine has not started yet".to_owned()));
    }
    let waiting = engine.shards.iter().enumerate().find(|(_, shard)| !shard.ready());
    match waiting {
        None => Ok(json_response(200, &serde_json::json!({ "status": "ready", "shards": engine.shards.len() }))),
        Some((i, shard)) => Err(Problem::unavailable(format!(
            "shard {i} is in state {:?}, last heard of {} ms ago",
            shard.signal,
            shard.heartbeat_age.as_millis()
        ))),
    }
}

/// OpenMetrics text.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}
