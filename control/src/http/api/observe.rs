//! Each request in the log (without its query, which may hold a token) and in the metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::App;

pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    // The route's pattern, not the path: a metric's labels must not grow with what outsiders ask for.
    let route = request.extensions().get::<MatchedPath>().map_or("other".to_owned(), |path| path.as_str().to_owned());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let (status, elapsed) = (response.status().as_u16(), start.elapsed());
    app.metrics.request(&method, &route, status, elapsed);
    tracing::info!(%method, path, status, elapsed_us = elapsed.as_micros() as u64, "request");
    response
}
