//! `POST /v1/sessions/{id}/kick`: closes one session.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use streams_contract::Command;

use super::extract::data;
use super::{App, Caller, Problem};

/// The number of the shard stands in the highest byte of a session's.
const SHARD_SHIFT: u32 = 56;

/// Answers once every shard has the command. Whether there was such a session of the caller's organisation is for the log to
/// tell: sessions come and go without asking control, and the shard knows whose they are.
pub async fn kick(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(session): Path<String>,
) -> Result<Response, Problem> {
    caller.needs("admin")?;
    let shards = app.program.engine().shards.len() as u64;
    let known = session.parse::<u64>().ok().filter(|number| number >> SHARD_SHIFT < shards);
    let Some(number) = known else {
        return Err(Problem::not_found(format!(
            "there is no session {session}; their numbers are in the logs of control and engine (`session opened`)"
        )));
    };
    app.program.send(&Command::KickSession { session: number, org: Some(caller.org) })?;
    // As text, for it may be beyond what JSON readers take for a whole number.
    Ok(data(202, &serde_json::json!({ "session": session, "shard": number >> SHARD_SHIFT })))
}
