//! `POST /v1/drain`: the shards take nothing new, tell their sessions, and let them go until the deadline.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::extract::{Strict, data};
use super::{App, Caller, Problem};
use crate::clock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Time that sessions have to leave, in seconds.
    #[serde(default = "Drain::usual_timeout_s")]
    timeout_seconds: u64,
}

impl Drain {
    fn usual_timeout_s() -> u64 {
        30
    }
}

pub async fn drain(State(app): State<Arc<App>>, caller: Caller, body: Strict<Drain>) -> Result<Response, Problem> {
    caller.needs("admin")?;
    let deadline_ms = app.resources.drain(body.value.timeout_seconds)?;
    let deadline = clock::rfc3339(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    Ok(data(202, &serde_json::json!({ "deadline": deadline })))
}
