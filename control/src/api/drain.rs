//! `POST /v1/drain`: the shards take nothing new, tell their sessions, and let them go until the deadline.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use streams_contract::Command;

use super::extract::{Strict, data};
use super::{App, Caller, Problem};
use crate::clock;

/// Longest time that sessions may be given.
const TIMEOUT_MAX_S: u64 = 3600;

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
    let timeout_s = body.value.timeout_seconds;
    if timeout_s > TIMEOUT_MAX_S {
        return Err(Problem::invalid(format!("timeout_seconds is {timeout_s}; at most {TIMEOUT_MAX_S} is possible")));
    }
    let deadline_ms = clock::unix_ms().unsigned_abs() + timeout_s * 1000;
    app.program.send(&Command::Drain { deadline_ms })?;
    Ok(data(202, &serde_json::json!({ "deadline": clock::rfc3339(deadline_ms as i64) })))
}
