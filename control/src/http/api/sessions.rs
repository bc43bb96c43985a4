//! `POST /v1/sessions/{id}/kick`: closes one session.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::extract::data;
use super::{App, Caller, Problem};

/// Answers once every shard has the command.
pub async fn kick(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(session): Path<String>,
) -> Result<Response, Problem> {
    caller.needs("admin")?;
    let shard = app.resources.kick(&caller.org, &session)?;
    // As text, for it may be beyond what JSON readers take for a whole number.
    Ok(data(202, &serde_json::json!({ "session": session, "shard": shard })))
}
