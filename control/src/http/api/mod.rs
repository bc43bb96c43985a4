//! REST API `/v1`, health, metrics, and the routes of the player page. A handler takes a request apart, calls a resource
//! ([`crate::resources`]) and makes the answer.
//!
//! A request passes: host check (plain HTTP only) ▶ log and count ▶ API key and rate ([`Caller`]) ▶ strict body ▶ handler.
//! Every refusal, whoever makes it, is a [`Problem`].

mod drain;
mod extract;
mod health;
mod idempotency;
mod limit;
mod live_inputs;
mod observe;
mod playback;
mod problem;
mod sessions;
mod signing_keys;
mod tunables;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use streams_config::Config;

pub use self::extract::Caller;
pub use self::limit::RateLimit;
pub use self::problem::Problem;
use crate::Error;
use crate::endpoints::Endpoints;
use crate::http::web::WebRoot;
use crate::keys::Vault;
use crate::metrics::Metrics;
use crate::program::Program;
use crate::resources::Resources;
use crate::store::Store;
use crate::tls::Certificates;

/// Everything a handler needs.
pub struct App {
    /// What callers make and change.
    pub resources: Resources,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Shared memory.
    pub program: Arc<Program>,
    /// Seals secrets for the database.
    pub vault: Arc<Vault>,
    /// Addresses in URLs.
    pub endpoints: Endpoints,
    /// `streams.toml`.
    pub config: Config,
    /// The certificate and its successor.
    pub certificates: Certificates,
    /// Files of the player page.
    pub web: WebRoot,
    /// Counters of the API and of the engine.
    pub metrics: Metrics,
    /// Requests an API key may make.
    pub limit: RateLimit,
}

/// All routes. `plain` adds the check of `Host` that a server without TLS on loopback needs.
pub fn router(app: Arc<App>, plain: bool) -> Router {
    let v1 = Router::new()
        .route("/live-inputs", get(live_inputs::list).post(live_inputs::create))
        .route("/live-inputs/{id}", get(live_inputs::read).patch(live_inputs::update).delete(live_inputs::delete))
        .route("/live-inputs/{id}/health", get(live_inputs::health))
        .route("/live-inputs/{id}/rotate-stream-key", post(live_inputs::rotate))
        .route("/live-inputs/{id}/enable", post(live_inputs::enable))
        .route("/live-inputs/{id}/disable", post(live_inputs::disable))
        .route("/live-inputs/{id}/disconnect", post(live_inputs::disconnect))
        .route("/live-inputs/{id}/playback-url", post(playback::create))
        .route("/signing-keys", get(signing_keys::list).post(signing_keys::create))
        .route("/signing-keys/{id}", get(signing_keys::read).delete(signing_keys::revoke))
        .route("/tunables", get(tunables::list).post(tunables::set))
        .route("/sessions/{id}/kick", post(sessions::kick))
        .route("/drain", post(drain::drain));
    let router = Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(crate::http::web::routes())
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .layer(from_fn(unsplit));
    let router = if plain { router.layer(from_fn(only_loopback_hosts)) } else { router };
    router.with_state(app)
}

/// Runs what changes something to its end whatever becomes of the connection: the server drops a handler whose client went
/// away, and one dropped between the database and shared memory would leave the two apart.
async fn unsplit(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let answered = tokio::spawn(next.run(request)).await;
    answered.unwrap_or_else(|error| Problem::from(Error::Task { task: "a request", source: error }).into_response())
}

/// The handler for paths that nothing else serves.
pub async fn not_found(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::method_not_allowed(format!("{} is not possible at {}", request.method(), request.uri().path()))
}

/// A page of another site whose name was pointed at 127.0.0.1 (DNS rebinding) sends its own name in `Host`.
async fn only_loopback_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_loopback_host(host) {
        return next.run(request).await;
    }
    Problem::forbidden("this port answers to localhost, 127.0.0.1 and [::1] only; use https on the API port".to_owned())
        .into_response()
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::is_loopback_host;

    #[test]
    fn only_loopback_names_pass_the_host_check() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]", "[::1]:8080"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil:80", "::1", "0.0.0.0"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
