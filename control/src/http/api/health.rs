//! `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::ExtensionRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use streams_config::MetricsAccess;

use super::extract::json_response;
use super::{App, Caller, Problem};

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

/// The scope of an API key that reads the metrics.
const METRICS_SCOPE: &str = "metrics:read";

/// OpenMetrics text, for whom `[api] metrics` lets read it: the figures tell how many watch whom.
pub async fn metrics(
    State(app): State<Arc<App>>,
    peer: Result<ConnectInfo<SocketAddr>, ExtensionRejection>,
    headers: HeaderMap,
    caller: Result<Caller, Problem>,
) -> Result<Response, Problem> {
    let local = || {
        let passed_on = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
        peer.is_ok_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback()) && !passed_on
    };
    let free = match app.config.api.metrics {
        MetricsAccess::Open => true,
        MetricsAccess::Local => local(),
        MetricsAccess::Key => false,
    };
    if !free {
        caller?.needs(METRICS_SCOPE)?;
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response())
}
